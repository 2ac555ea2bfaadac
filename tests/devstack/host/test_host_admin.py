import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.devstack.host.helpers import eventually
from tests.devstack.processes import Running

WEBHOOK = "/runtime/webhooks/EventGrid"


def test_the_status_and_the_ping_answer(client: httpx.Client) -> None:
    assert client.get("/admin/host/status").json()["state"] == "Running"
    assert client.get("/admin/host/ping").status_code == 200
    assert client.get("/admin/host/nothing").status_code == 404


def test_functions_are_listed_with_their_bindings(basic: Running, client: httpx.Client) -> None:
    listed = {function["name"]: function for function in client.get("/admin/functions").json()}
    assert list(listed) == sorted(listed, key=str.upper)
    assert listed["length"]["invoke_url_template"] == f"{basic.address}/api/length"
    assert listed["yearly"]["invoke_url_template"] is None
    assert {binding["type"] for binding in listed["length"]["config"]["bindings"]} == {"httpTrigger", "http"}
    assert client.get("/admin/functions/LENGTH").json() == listed["length"]
    assert client.get("/admin/functions/nowhere").status_code == 404


def test_a_timer_is_run_by_hand(client: httpx.Client, yearly_mark: Path) -> None:
    assert client.post("/admin/functions/yearly", json={"input": ""}).status_code == 202
    eventually(lambda: yearly_mark.exists() and yearly_mark.read_text())
    assert json.loads(yearly_mark.read_text()) is False


def test_an_http_function_is_run_by_hand(basic: Running, client: httpx.Client) -> None:
    assert client.post("/admin/functions/fail", json={"input": "x"}).status_code == 202
    eventually(lambda: "it broke on purpose" in basic.log)


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/admin/functions/yearly", b"", 400),
        ("/admin/functions/yearly", b"[]", 400),
        ("/admin/functions/nowhere", b"{}", 404),
        ("/admin/functions", b"{}", 404),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(client: httpx.Client, path: str, content: bytes, status: int) -> None:
    assert client.post(path, content=content).status_code == status


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


def test_a_subscription_is_confirmed_by_sending_its_code_back(client: httpx.Client) -> None:
    answer = _deliver(client, "SubscriptionValidation", [_event("1", validationCode="512d38b6")])
    assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})


def test_each_event_of_a_delivery_runs_the_function(client: httpx.Client, tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    answer = _deliver(client, "Notification", [_event(file.name, file=str(file)) for file in files])
    assert answer.status_code == 202
    assert [file.read_text() for file in files] == [
        f"Microsoft.KeyVault.CertificateNewVersionCreated imagenet {file.name}" for file in files
    ]


def test_an_event_that_fails_is_asked_for_again(client: httpx.Client, tmp_path: Path) -> None:
    events = [_event("1", file=str(tmp_path / "one")), _event("2", fail=True)]
    assert _deliver(client, "Notification", events).status_code == 500
    assert (tmp_path / "one").exists()


def test_an_event_is_run_by_hand(client: httpx.Client, tmp_path: Path) -> None:
    file = tmp_path / "by-hand"
    event = json.dumps(_event("1", file=str(file)))
    assert client.post("/admin/functions/on_event", json={"input": event}).status_code == 202
    eventually(file.exists)


def test_what_is_no_delivery_is_refused(client: httpx.Client) -> None:
    assert _deliver(client, "Notification", [], function="nothing").status_code == 404
    assert _deliver(client, "Notification", [], function="length").status_code == 404
    assert _deliver(client, "Notification", [5]).status_code == 400
    assert _deliver(client, "SubscriptionValidation", [_event("1")]).status_code == 400
    assert _deliver(client, "Unheard", []).status_code == 400
    assert _deliver(client, "Unsubscribe", []).status_code == 202
    assert client.get(WEBHOOK, params={"functionName": "on_event"}).status_code == 405


def test_cloud_events_shake_hands_by_options(client: httpx.Client) -> None:
    headers = {"WebHook-Request-Origin": "eventgrid.azure.net"}
    answer = client.request("OPTIONS", WEBHOOK, params={"functionName": "on_event"}, headers=headers)
    assert (answer.status_code, answer.headers["webhook-allowed-origin"]) == (200, "eventgrid.azure.net")
