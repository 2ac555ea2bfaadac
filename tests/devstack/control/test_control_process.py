"""``python -m devstack.control`` as a process: seeding, restart, refusals to start, end."""

import contextlib
import json
import re
import signal
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from devstack.authority import Issued
from devstack.control import ControlStore
from tests.devstack.control.plane import CONTROL, Files, eventually, fails_with, wanted
from tests.devstack.processes import fails_to_start

KEYS = {"primaryKey": "one-of-the-keys", "secondaryKey": "two-of-the-keys"}


def seed(folder: Path, certificate: Issued, port: int = 0) -> None:
    ControlStore(folder / "state").seed_service(
        name="seeded",
        primary_key=KEYS["primaryKey"],
        secondary_key=KEYS["secondaryKey"],
        chain=certificate.chain,
        key=certificate.key,
        port=port,
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def test_a_seeded_service_is_ready_with_the_ready_line(
    control_files: Files, certificate: Issued, tmp_path: Path
) -> None:
    port = free_port()
    seed(tmp_path, certificate, port)

    with control_files.running(tmp_path) as running, control_files.plane(running.address) as plane:
        (service,) = plane.get("/services")["value"]

        assert (service["name"], service["state"], service["port"]) == ("seeded", "Succeeded", port)
        assert plane.predict(service, KEYS["primaryKey"], certificate.certificate)


def test_a_restart_brings_everything_back_on_the_same_ports(
    control_files: Files, certificate: Issued, tmp_path: Path
) -> None:
    seed(tmp_path, certificate)
    fresh = control_files.authority.issue()
    with control_files.running(tmp_path) as first, control_files.plane(first.address) as plane:
        before = [plane.get("/services")["value"][0], plane.create("plain")]
        plane.admin("seeded", {"swap": "restart"})
        plane.ended(plane.update(before[0], fresh, keys={**KEYS, "primaryKey": "another"}))

    with control_files.running(tmp_path) as second, control_files.plane(second.address) as plane:
        after = plane.get("/services")["value"]
        ports = [(service["id"], service["port"]) for service in after]
        assert ports == [(service["id"], service["port"]) for service in before]
        assert plane.predict(after[0], "another", fresh.certificate)
        assert plane.predict(after[1])
        assert plane.admin("seeded")["swap"] == "restart"
        # The seed was for the first start: it takes nothing back.
        seed(tmp_path, certificate)
        assert plane.keys(after[0])[0] == "another"


def test_operations_that_a_kill_interrupted_are_failed_afterwards(
    control_files: Files, certificate: Issued, tmp_path: Path
) -> None:
    seed(tmp_path, certificate)
    with control_files.running(tmp_path) as first, control_files.plane(first.address) as plane:
        (service,) = plane.get("/services")["value"]
        plane.switch({"mode": "hang", "calls": ["update", "create"]})
        update = plane.update(service, keys={"primaryKey": "x", "secondaryKey": "y"}).headers["Operation-Location"]
        creation = plane.call("POST", "/services", wanted(name="half")).headers["Operation-Location"]
        first.stop(signal.SIGKILL)

    with control_files.running(tmp_path) as second, control_files.plane(second.address) as plane:
        for location in (update, creation):
            operation = plane.http.get(location, params={"api-version": "2018-04-01-preview"}).json()
            assert operation["state"] == "Failed"
            assert "restarted before the operation ended" in operation["error"]["message"]
        states = {each["name"]: each["state"] for each in plane.get("/services")["value"]}
        assert states == {"seeded": "Succeeded", "half": "Failed"}
        assert plane.keys(service) == (KEYS["primaryKey"], KEYS["secondaryKey"])


def test_new_services_get_the_ports_from_the_first_one_on(control_files: Files, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        first = free_port()
        # The first is held by another program.
        stack.enter_context(socket.create_server(("127.0.0.1", first)))
        running = stack.enter_context(control_files.running(tmp_path, "--data-ports", str(first)))
        plane = stack.enter_context(control_files.plane(running.address))

        ports = [plane.create(f"service-{number}")["port"] for number in range(2)]

        assert first < ports[0] < ports[1] < first + 100


def test_every_certificate_is_swapped_with_a_restart_when_that_is_asked_for(
    control_files: Files, certificate: Issued, tmp_path: Path
) -> None:
    with (
        control_files.running(tmp_path, "--swap", "restart") as running,
        control_files.plane(running.address) as plane,
    ):
        service = plane.create("one", certificate, keys=KEYS)
        with plane.channel(service, certificate.certificate) as channel:
            plane.predict(service, KEYS["primaryKey"])
            grpc.channel_ready_future(channel).result(timeout=10)
            plane.ended(plane.update(service, control_files.authority.issue()))

            assert fails_with(channel, KEYS["primaryKey"]) is grpc.StatusCode.UNAVAILABLE


def test_two_signals_end_it_silently_with_an_operation_and_a_call_under_way(
    control_files: Files, tmp_path: Path
) -> None:
    with control_files.running(tmp_path) as running, control_files.plane(running.address) as plane:
        service = plane.create("one")
        plane.switch({"mode": "hang"})
        plane.update(service)
        plane.admin("one", {"faults": {"hang": True}})
        with plane.channel(service, None) as channel, ThreadPoolExecutor(1) as callers:
            call = callers.submit(fails_with, channel, None)
            eventually(lambda: plane.admin("one")["calls"] == 1)
            running.process.send_signal(signal.SIGINT)

            assert running.stop(signal.SIGTERM) == (0, "")

            assert call.result() is grpc.StatusCode.UNAVAILABLE
        assert not re.search(r"Traceback|Error|Cancel", running.log)


def test_neither_the_log_nor_the_file_s_mode_gives_secrets_away(
    control_files: Files, certificate: Issued, tmp_path: Path
) -> None:
    with control_files.running(tmp_path) as running, control_files.plane(running.address) as plane:
        service = plane.create("one", certificate, keys=KEYS)
        plane.keys(service)
        plane.ended(plane.update(service, certificate, keys={**KEYS, "primaryKey": "bad\nkey-of-them"}))
        plane.call("GET", "/services", note="in-the-query")

        log = running.log

    assert "Update of service" in log
    assert not re.search(r"of-the|PRIVATE|eyJ|in-the-query", log)
    file = tmp_path / "state" / "control.json"
    assert KEYS["primaryKey"] in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_state_that_cannot_be_written_is_a_500_and_nothing_changes(control_files: Files, tmp_path: Path) -> None:
    with control_files.running(tmp_path) as running, control_files.plane(running.address) as plane:
        (tmp_path / "state" / "control.json.new").mkdir()  # where the file would be prepared

        answer = plane.call("POST", "/services", wanted(name="one"))

        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "InternalServerError")
        assert plane.get("/services") == {"value": []}
        assert "Traceback" not in running.log


# Refusals to start.


def test_a_busy_port_is_named(control_files: Files, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        line = fails_to_start(CONTROL, *control_files.arguments(tmp_path / "state", port=port))

    assert line == f"port {port} on 127.0.0.1 is in use: stop the program that holds it, or pass another --port"


def test_a_busy_port_of_a_service_is_named(control_files: Files, certificate: Issued, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        seed(tmp_path, certificate, port)

        line = fails_to_start(CONTROL, *control_files.arguments(tmp_path / "state"))

    assert line.startswith(f"port {port} on 127.0.0.1 is in use: service seeded cannot start; stop the program")


def test_a_certificate_that_cannot_be_used_is_named(control_files: Files, certificate: Issued, tmp_path: Path) -> None:
    seed(tmp_path, Issued(certificate.certificate, control_files.authority.issue().key, certificate.chain))

    line = fails_to_start(CONTROL, *control_files.arguments(tmp_path / "state"))

    assert "the private key belongs to another certificate: service seeded cannot start" in line


def test_a_damaged_file_is_named(control_files: Files, tmp_path: Path) -> None:
    (tmp_path / "control.json").write_text('{"format": 1, "services": [{"primary_key": "hunter2"')

    line = fails_to_start(CONTROL, *control_files.arguments(tmp_path))

    assert line.startswith(f"the control plane's file {tmp_path}/control.json is damaged (it is not JSON): restore it")
    assert "hunter2" not in line


def test_a_damaged_entry_is_named_without_its_values(control_files: Files, certificate: Issued, tmp_path: Path) -> None:
    seed(tmp_path, certificate)
    file = tmp_path / "state" / "control.json"
    document = json.loads(file.read_text())
    document["services"][0]["primary_key"] = 12345
    file.write_text(json.dumps(document))

    line = fails_to_start(CONTROL, *control_files.arguments(tmp_path / "state"))

    assert '("primary_key" is missing or of another type)' in line
    assert "12345" not in line


def test_a_folder_that_cannot_be_used_is_named(control_files: Files, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    line = fails_to_start(CONTROL, *control_files.arguments(tmp_path / "file"))

    assert line.startswith(f"cannot use {tmp_path}/file for the control plane: File exists; pass a --folder")


def test_a_latency_below_zero_is_named(control_files: Files, tmp_path: Path) -> None:
    line = fails_to_start(CONTROL, *control_files.arguments(tmp_path / "state", "--latency-ms", "-1"))

    assert line == "--latency-ms is -1.0; it must not be negative"


def test_account_and_audience_are_options(control_files: Files, tmp_path: Path) -> None:
    arguments = ("--subscription", "s-1", "--group", "g-1", "--account", "a-1", "--audience", "api://mine")
    with control_files.running(tmp_path, *arguments) as running, control_files.plane(running.address) as plane:
        path = "/api/subscriptions/S-1/resourcegroups/g-1/accounts/a-1/services"
        query = {"api-version": "2018-04-01-preview"}
        token = {"Authorization": f"Bearer {control_files.token('api://mine')}"}

        assert plane.http.get(path, params=query, headers=token).json() == {"value": []}
        assert plane.http.get(path, params=query).status_code == 401
