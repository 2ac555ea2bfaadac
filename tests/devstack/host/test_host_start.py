import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.devstack.host.helpers import APPS, StartHost
from tests.devstack.processes import Running, fails_to_start


def _refusal(app: Path, *flags: str) -> str:
    return fails_to_start("devstack.host", "--app", app, "--port", "0", *flags)


@pytest.mark.parametrize(
    ("app", "cause"),
    [
        ("broken", "helper.py, line 3: ModuleNotFoundError: No module named 'a_package_that_is_not_installed'"),
        ("duplicate", "Function twin does not have a unique function name"),
        ("arguments", "cannot load the item function: the following parameters are declared in Python"),
        ("empty", "the app has no function: register one"),
        ("..", "no function_app.py in "),
        ("missing", "there is no folder "),
    ],
)
def test_an_app_that_cannot_be_loaded_is_refused_in_one_line(app: str, cause: str) -> None:
    line = _refusal(APPS / app)
    assert line.startswith("host: ")
    assert cause in line


def test_several_workers_refuse_an_app_once() -> None:
    assert "a_package_that_is_not_installed" in _refusal(APPS / "broken", "--workers", "3")


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("def (", "function_app.py, line 1"),
        ("1 / 0", "function_app.py, line 1: ZeroDivisionError: division by zero"),
        ("x = 1", "Could not find top level function app instances"),
    ],
)
def test_a_script_that_is_no_app_is_refused_with_the_line(tmp_path: Path, source: str, cause: str) -> None:
    (tmp_path / "function_app.py").write_text(source)
    assert cause in _refusal(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("host.json", "{", "host.json is not valid JSON"),
        ("host.json", '{"version": "1.0"}', "host.json has no supported version"),
        ("local.settings.json", '{"IsEncrypted": true}', "local.settings.json is encrypted"),
        ("local.settings.json", '{"Host": {"CORS": "*", "CORSCredentials": true}}', "credentials cannot go with"),
    ],
)
def test_damaged_settings_are_refused_before_the_app_is_loaded(
    tmp_path: Path, name: str, content: str, cause: str
) -> None:
    (tmp_path / name).write_text(content)
    assert cause in _refusal(tmp_path)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_is_named_with_the_remedy(workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        line = fails_to_start("devstack.host", "--app", APPS / "basic", "--port", port, "--workers", workers)
    assert line == f"host: port {port} on 127.0.0.1 is in use: stop what uses it, or take another with --port"


@pytest.fixture(scope="module")
def faulty(start_host: StartHost) -> Iterator[Running]:
    with start_host("faulty") as host:
        yield host


def test_functions_in_error_are_named_and_the_others_run(faulty: Running) -> None:
    names = {function["name"] for function in httpx.get(f"{faulty.address}/admin/functions").json()}
    assert names == {"sound", "greedy"}
    for name, fault in {
        "underscore": "the binding name my_request is invalid",
        "bad_cron": "61 is no minute",
        "unresolved": "'%NOT_SET%' does not resolve to a value",
        "reserved": "conflicts with one of the host's own",
        "malformed": "is malformed: a '{' is not closed",
        "queued": "queueTrigger is not part of this local host",
    }.items():
        assert f"The '{name}' function is in error: " in faulty.log
        assert fault in faulty.log


def test_a_function_that_hides_another_does_so_here_as_in_azure_and_is_warned_of(faulty: Running) -> None:
    assert httpx.get(f"{faulty.address}/api/sound").text == "greedy"
    assert "of 'greedy' is tried before 'api/sound' of 'sound'" in faulty.log


def test_the_apps_folder_is_last_on_the_path_so_packages_win(tmp_path: Path) -> None:
    # A module of the app with the name of an installed package is never imported, here as in Azure.
    (tmp_path / "numpy.py").write_text("raise SystemError('the app shadows numpy')")
    (tmp_path / "function_app.py").write_text("import numpy\nraise LookupError(numpy.__name__)")
    assert "LookupError: numpy" in _refusal(tmp_path)
