"""``python -m devstack.control`` as a process: restart, kill, end, secrets, and what it refuses at its start."""

import re
import signal
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from devstack.authority import Issued
from devstack.control import ControlStore
from tests.support.devstack.control_plane import API, CONTROL, ControlPlaneFiles, predict_error, service_body
from tests.support.devstack.processes import start_error, unused_port, wait_until

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


def test_a_restart_serves_all_services_again_on_the_same_ports(
    control_files: ControlPlaneFiles, certificate: Issued, tmp_path: Path
) -> None:
    port = unused_port()
    seed(tmp_path, certificate, port)
    fresh = control_files.authority.issue()
    with control_files.running(tmp_path) as first, control_files.connect(first.address) as plane:
        (seeded,) = plane.get("/services")["value"]
        assert (seeded["name"], seeded["state"], seeded["port"]) == ("seeded", "Succeeded", port)
        assert plane.predict(seeded, KEYS["primaryKey"], certificate.certificate)
        other = plane.create("other")
        plane.admin("seeded", {"swap": "restart"})
        plane.wait_for_end(plane.update(seeded, fresh, keys={**KEYS, "primaryKey": "another"}))

    with control_files.running(tmp_path) as second, control_files.connect(second.address) as plane:
        after = plane.get("/services")["value"]
        assert [(each["id"], each["port"]) for each in after] == [
            (each["id"], each["port"]) for each in (seeded, other)
        ]
        assert plane.predict(after[0], "another", fresh.certificate)
        assert plane.predict(after[1])
        assert plane.admin("seeded")["swap"] == "restart"
        seed(tmp_path, certificate)  # for a first start only
        assert plane.keys(after[0])[0] == "another"


def test_operations_that_a_kill_interrupted_are_failed(
    control_files: ControlPlaneFiles, certificate: Issued, tmp_path: Path
) -> None:
    seed(tmp_path, certificate)
    with control_files.running(tmp_path) as first, control_files.connect(first.address) as plane:
        (service,) = plane.get("/services")["value"]
        plane.set_faults({"mode": "hang", "calls": ["update", "create"]})
        update = plane.update(service, keys={"primaryKey": "x", "secondaryKey": "y"}).headers["Operation-Location"]
        creation = plane.call("POST", "/services", service_body(name="half")).headers["Operation-Location"]
        first.stop(signal.SIGKILL)

    with control_files.running(tmp_path) as second, control_files.connect(second.address) as plane:
        for location in (update, creation):
            operation = plane.http.get(location, params=API).json()
            assert operation["state"] == "Failed"
            assert "restarted before the operation ended" in operation["error"]["message"]
        states = {each["name"]: each["state"] for each in plane.get("/services")["value"]}
        assert states == {"seeded": "Succeeded", "half": "Failed"}
        assert plane.keys(service) == (KEYS["primaryKey"], KEYS["secondaryKey"])


def test_two_signals_end_it_silently_while_an_operation_and_a_call_hang(
    control_files: ControlPlaneFiles, tmp_path: Path
) -> None:
    with control_files.running(tmp_path) as running, control_files.connect(running.address) as plane:
        service = plane.create("one")
        plane.set_faults({"mode": "hang"})
        plane.update(service)
        plane.admin("one", {"faults": {"hang": True}})
        with plane.channel(service, None) as channel, ThreadPoolExecutor(1) as callers:
            call = callers.submit(predict_error, channel, None)
            wait_until(lambda: plane.admin("one")["calls"] == 1, "the call arrives")
            running.process.send_signal(signal.SIGINT)

            assert running.stop(signal.SIGTERM) == (0, "")

            assert call.result() is grpc.StatusCode.UNAVAILABLE
        assert not re.search(r"Traceback|Error|Cancel", running.log)


def test_secrets_are_neither_logged_nor_readable_by_others(
    control_files: ControlPlaneFiles, certificate: Issued, tmp_path: Path
) -> None:
    file = tmp_path / "state" / "control.json"
    with control_files.running(tmp_path) as running, control_files.connect(running.address) as plane:
        service = plane.create("one", certificate, keys=KEYS)
        plane.keys(service)
        plane.wait_for_end(plane.update(service, certificate, keys={**KEYS, "primaryKey": "bad\nkey-of-them"}))
        plane.call("GET", "/services", note="in-the-query")
        # A state that cannot be written is an error, and nothing changes.
        moved = file.parent.rename(tmp_path / "elsewhere")
        answer = plane.call("POST", "/services", service_body(name="two"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "InternalServerError")
        assert len(plane.get("/services")["value"]) == 1
        moved.rename(file.parent)
        log = running.log

    assert "Update of service" in log
    assert not re.search(r"of-the|PRIVATE|eyJ|in-the-query|Traceback", log)
    assert KEYS["primaryKey"] in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_what_it_refuses_at_its_start(control_files: ControlPlaneFiles, certificate: Issued, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged" / "control.json"
    damaged.parent.mkdir()
    damaged.write_text('{"format": 1, "services": [{"primary_key": "hunter2"')
    line = start_error(CONTROL, *control_files.control_arguments(damaged.parent))
    assert line.startswith(f"the control plane's file {damaged} is damaged (it is not JSON): restore it")
    assert "hunter2" not in line
    line = start_error(CONTROL, *control_files.control_arguments(damaged))
    assert line.startswith(f"cannot use {damaged} for the control plane: File exists; pass a --folder")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        seed(tmp_path, certificate, port)
        line = start_error(CONTROL, *control_files.control_arguments(tmp_path / "state"))
    assert line.startswith(f"port {port} on 127.0.0.1 is in use: service seeded cannot start; stop the program")
