"""The host's own routes: status, list of functions, manual runs, and Event Grid's webhook."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.devstack.functions_host import StartHost
from tests.support.devstack.processes import ServerProcess, wait_until

JSON = {"Content-Type": "application/json"}
WEBHOOK = "/runtime/webhooks/EventGrid"


def test_functions_are_listed_with_their_bindings(basic: ServerProcess, client: httpx.Client) -> None:
    assert client.get("/admin/host/status").json()["state"] == "Running"
    listed = {function["name"]: function for function in client.get("/admin/functions").json()}
    assert list(listed) == sorted(listed, key=str.upper)
    assert listed["length"]["invoke_url_template"] == f"{basic.address}/api/length"
    assert listed["yearly"]["invoke_url_template"] is None
    assert {binding["type"] for binding in listed["length"]["config"]["bindings"]} == {"httpTrigger", "http"}
    assert client.get("/admin/functions/LENGTH").json() == listed["length"]
    # So does the log, in the form of `func start`.
    assert re.search(rf"echo: +{basic.address}/api/echo/{{number:int\?}}\n", basic.log)
    assert re.search(rf"length: +\[POST,PUT\] {basic.address}/api/length\n", basic.log)
    assert re.search(r"yearly: +timerTrigger\n", basic.log)


def test_functions_are_run_manually(
    basic: ServerProcess, client: httpx.Client, yearly_file: Path, tmp_path: Path
) -> None:
    event = json.dumps(_event("1", file=str(tmp_path / "event")))
    for name, text in (("yearly", ""), ("fail", "x"), ("on_event", event)):
        assert client.post(f"/admin/functions/{name}", json={"input": text}).status_code == 202
    wait_until(lambda: yearly_file.exists() and yearly_file.read_text() == "false", "the timer runs")
    wait_until(lambda: "Executed 'Functions.yearly' (Succeeded" in basic.log, "its line in the log")
    wait_until(lambda: "it broke on purpose" in basic.log, "the HTTP function runs")
    wait_until((tmp_path / "event").exists, "the event function runs")
    for name, content, status in (("yearly", b"", 400), ("yearly", b"[]", 400), ("nowhere", b"{}", 404)):
        assert client.post(f"/admin/functions/{name}", content=content, headers=JSON).status_code == status


@pytest.mark.parametrize("depth", [900, 1100, 100_000])
def test_deeply_nested_json_is_refused_without_a_traceback(
    basic: ServerProcess, client: httpx.Client, tmp_path: Path, depth: int
) -> None:
    deep = "[" * depth + "]" * depth
    event = json.dumps(_event("1", file=str(tmp_path / "event"))).replace('"data": {', f'"data": {{"deep": {deep},')
    delivered = {**JSON, "aeg-event-type": "Notification"}
    expected = 202 if depth < 1000 else 400

    started = client.post("/admin/functions/yearly", content=f'{{"input": {deep}}}', headers=JSON)
    answer = client.post(WEBHOOK, params={"functionName": "on_event"}, content=event, headers=delivered)

    assert (started.status_code, answer.status_code) == (expected, expected)
    assert "RecursionError" not in basic.log


def test_a_foreign_page_can_neither_run_a_function_nor_deliver_an_event(
    basic: ServerProcess, client: httpx.Client, tmp_path: Path
) -> None:
    event = [_event("1", file=str(tmp_path / "event"))]
    requests = {
        "/admin/functions/yearly": {"input": ""},
        WEBHOOK + "?functionName=on_event": event,
        "/ADMIN/functions/yearly": {"input": ""},
    }
    for path, content in requests.items():
        headers = {"aeg-event-type": "Notification"}
        for origin in ("https://evil.example", "null", "http://localhost:1"):
            answer = client.post(path, json=content, headers={**headers, "Origin": origin})
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:problem-type:local-host:foreign-origin")
        plain = {**headers, "Content-Type": "text/plain"}
        assert client.post(path, content=json.dumps(content), headers=plain).status_code == 415
        assert client.post(path, json=content, headers={**headers, "Origin": basic.address}).status_code == 202
    assert (tmp_path / "event").exists()


def test_a_foreign_name_of_loopback_is_refused_on_every_route(basic: ServerProcess, client: httpx.Client) -> None:
    port = basic.address.rpartition(":")[2]
    for path in ("/", "/api/echo", "/admin/functions", WEBHOOK):
        for host in (f"evil.example:{port}", "", "localhost.evil.example", "10.0.0.1"):
            answer = client.get(path, headers={"Host": host})
            assert (answer.status_code, answer.json()["type"]) == (421, "urn:problem-type:local-host:foreign-host")
    for host in (f"127.0.0.1:{port}", "LOCALHOST", f"app.localhost:{port}", f"[::1]:{port}"):
        assert client.get("/api/echo", headers={"Host": host}).status_code == 200


def test_a_host_on_another_address_is_reached_by_its_names(start_host: StartHost) -> None:
    with start_host("basic", "--address", "0.0.0.0") as host:  # noqa: S104 - what is tested
        address = f"http://127.0.0.1:{host.address.rpartition(':')[2]}/api/echo"
        assert httpx.get(address, headers={"Host": "laptop.example"}).status_code == 200


def _deliver(client: httpx.Client, kind: str, events: Any, function: str = "on_event") -> httpx.Response:
    headers = {"aeg-event-type": kind}
    return client.post(WEBHOOK, params={"functionName": function}, json=events, headers=headers)


def _event(identity: str, **data: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "topic": "/vaults/v",
        "subject": "imagenet",
        "eventType": "Microsoft.KeyVault.CertificateNewVersionCreated",
        "eventTime": "2024-01-01T00:00:00Z",
        "dataVersion": "1",
        "data": data,
    }


def test_each_event_of_a_delivery_runs_the_function(client: httpx.Client, tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    answer = _deliver(client, "Notification", [_event(file.name, file=str(file)) for file in files])
    assert answer.status_code == 202
    assert [file.read_text() for file in files] == [
        f"Microsoft.KeyVault.CertificateNewVersionCreated imagenet {file.name}" for file in files
    ]
    failing = [_event("1", file=str(tmp_path / "three")), _event("2", fail=True)]
    assert _deliver(client, "Notification", failing).status_code == 500
    assert (tmp_path / "three").exists()


def test_subscriptions_are_validated_and_invalid_deliveries_refused(client: httpx.Client) -> None:
    answer = _deliver(client, "SubscriptionValidation", [_event("1", validationCode="512d38b6")])
    assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})
    headers = {"WebHook-Request-Origin": "eventgrid.azure.net"}
    answer = client.request("OPTIONS", WEBHOOK, params={"functionName": "on_event"}, headers=headers)
    assert (answer.status_code, answer.headers["webhook-allowed-origin"]) == (200, "eventgrid.azure.net")
    assert _deliver(client, "Notification", [], function="nothing").status_code == 404
    assert _deliver(client, "Notification", [5]).status_code == 400
    assert _deliver(client, "Unheard", []).status_code == 400
    assert _deliver(client, "Unsubscribe", []).status_code == 202
