"""What the host refuses at its start, as the real one does, and what it reports and leaves out."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.devstack.functions_host import APPS, StartHost
from tests.support.devstack.processes import ServerProcess, start_error

AUTH = ("--enable-auth", "--keys-file")
APP = "import azure.functions as func\napp = func.FunctionApp()\n"
TWIN = '@app.function_name("twin")\n@app.route(route="one")\ndef {}(req: func.HttpRequest) -> func.HttpResponse: ...\n'
ARGUMENT = '@app.route(route="item/{identity}")\ndef item(req: func.HttpRequest, identity: str) -> str: ...\n'


def _error(app: Path, *flags: str) -> str:
    line = start_error("devstack.host", "--app", app, "--port", "0", *flags)
    assert line.startswith("host: ")
    return line


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("def (", "function_app.py, line 1"),
        ("x = 1", "Could not find top level function app instances"),
        (APP, "the app has no function: register one"),
        (APP + TWIN.format("one") + TWIN.format("two"), "Function twin does not have a unique function name"),
        (APP + ARGUMENT, "cannot load the item function: the following parameters are declared in Python"),
        ("\nimport not_installed", "line 2: ModuleNotFoundError: No module named 'not_installed' (install it, or add"),
        # The app's folder is the last on the path, as in Azure: a module of its own hides no installed package.
        ("import numpy\nraise LookupError(numpy.__name__)", "LookupError: numpy"),
    ],
)
def test_an_app_that_cannot_be_loaded_is_refused(tmp_path: Path, source: str, cause: str) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the app hides numpy')")
    (tmp_path / "function_app.py").write_text(source)
    assert cause in _error(tmp_path)


def test_a_worker_process_reports_the_same(tmp_path: Path) -> None:
    assert "--worker-process starts one worker" in _error(tmp_path, "--worker-process", "--workers", "2")
    assert "no function_app.py in " in _error(tmp_path, "--worker-process")
    (tmp_path / "function_app.py").write_text("\nimport not_installed")
    error = _error(tmp_path, "--worker-process")
    assert "line 2: ModuleNotFoundError: No module named 'not_installed' (install it, or add" in error


def test_several_workers_report_an_app_once(tmp_path: Path) -> None:
    assert "no function_app.py in " in _error(tmp_path)
    (tmp_path / "function_app.py").write_text("1 / 0")
    assert "line 1: ZeroDivisionError: division by zero" in _error(tmp_path, "--workers", "3")


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("host.json", "{", "host.json is not valid JSON"),
        ("local.settings.json", '{"Host": {"CORS": "*", "CORSCredentials": true}}', "credentials cannot go with"),
        ("keys.json", "[]", "delete the file to make new ones"),
    ],
)
def test_invalid_files_are_refused(tmp_path: Path, name: str, content: str, cause: str) -> None:
    (tmp_path / name).write_text(content)
    assert cause in _error(tmp_path if name != "keys.json" else APPS / "basic", *AUTH, str(tmp_path / "keys.json"))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_is_refused(workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        line = start_error("devstack.host", "--app", APPS / "basic", "--port", port, "--workers", workers)
    remedy = "stop the program that uses it, or choose another --port or --address"
    assert line == f"host: port {port} on 127.0.0.1 is in use: {remedy}"


@pytest.fixture(scope="module")
def faulty(start_host: StartHost) -> Iterator[ServerProcess]:
    with start_host("faulty") as host:
        yield host


def test_invalid_functions_are_reported_and_the_others_run(faulty: ServerProcess) -> None:
    names = {function["name"] for function in httpx.get(f"{faulty.address}/admin/functions").json()}
    assert names == {"valid", "greedy"}
    for name, fault in {
        "underscore": "the binding name my_request is invalid",
        "bad_cron": "is out of range",
        "unresolved": "'%NOT_SET%' does not resolve to a value",
        "reserved": "conflicts with a route of the host",
        "malformed": "is malformed: a '{' is not closed",
        "queued": "queueTrigger is not part of this local host",
    }.items():
        (line,) = (line for line in faulty.log.splitlines() if f"The '{name}' function is in error: " in line)
        assert fault in line


def test_a_function_can_hide_another_as_in_azure_with_a_warning(faulty: ServerProcess) -> None:
    assert httpx.get(f"{faulty.address}/api/valid").text == "greedy"
    assert "of 'greedy' is tried before 'api/valid' of 'valid'" in faulty.log
