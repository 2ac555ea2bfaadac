import json
from pathlib import Path
from typing import Any

import pytest

from devstack.host.errors import HostError
from devstack.host.settings import (
    DEFAULT_PORT,
    HostJson,
    LocalSettings,
    apply_values,
    parse_timespan,
    read_host_json,
    read_local_settings,
)


def _file(folder: Path, content: Any) -> Path:
    file = folder / "local.settings.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8-sig")
    return file


def _host_json(folder: Path, content: dict[str, Any]) -> Path:
    file = folder / "host.json"
    file.write_text(json.dumps({"version": "2.0", **content}))
    return file


def test_files_that_are_missing_mean_the_defaults(tmp_path: Path) -> None:
    assert read_local_settings(tmp_path / "local.settings.json") == LocalSettings()
    assert read_host_json(tmp_path / "host.json") == HostJson(route_prefix="api", timeout=1800, log_level="INFO")


def test_local_settings_hold_values_and_how_to_listen(tmp_path: Path) -> None:
    content = {
        "IsEncrypted": False,
        "Values": {"A": "a", "N": 3, "B": True, "E": "", "NONE": None},
        "Host": {"LocalHttpPort": 7099, "CORS": "https://a.example/, https://b.example", "CORSCredentials": True},
    }
    assert read_local_settings(_file(tmp_path, content)) == LocalSettings(
        values={"A": "a", "N": "3", "B": "true", "E": ""},
        port=7099,
        cors=("https://a.example", "https://b.example"),
        cors_credentials=True,
    )


def test_an_empty_file_is_as_good_as_none(tmp_path: Path) -> None:
    assert read_local_settings(_file(tmp_path, "")).port == DEFAULT_PORT


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"Values": {\n"A": }}', "local.settings.json is not valid JSON: Expecting value in line 2"),
        ([], "must hold a JSON object"),
        ({"IsEncrypted": True}, "is encrypted"),
        ({"Values": []}, "Values must be an object"),
        ({"Values": {"A": {"b": 1}}}, "the setting A must be a string"),
        ({"Host": {"LocalHttpPort": "x"}}, "must be a port number"),
        ({"Host": {"LocalHttpPort": 70000}}, "must be a port number"),
    ],
)
def test_a_damaged_settings_file_is_refused_with_its_fault(tmp_path: Path, content: Any, complaint: str) -> None:
    with pytest.raises(HostError, match=complaint):
        read_local_settings(_file(tmp_path, content))


def test_a_variable_that_is_set_wins_over_the_file() -> None:
    environment = {"A": "set"}
    apply_values({"A": "file", "B": "file"}, environment)
    assert environment == {"A": "set", "B": "file"}


def test_host_json_gives_prefix_headers_limit_and_log_level(tmp_path: Path) -> None:
    content = {
        "functionTimeout": "00:05:00",
        "extensions": {"http": {"routePrefix": "/v1/", "customHeaders": {"X-A": "1", "X-None": None}}},
        "logging": {"logLevel": {"default": "Warning"}},
    }
    assert read_host_json(_host_json(tmp_path, content)) == HostJson("v1", {"X-A": "1"}, 300, "WARNING")


@pytest.mark.parametrize(
    ("levels", "level"),
    [
        ({"default": "Warning", "Function": "Information"}, "INFO"),
        ({"Function": "Debug"}, "DEBUG"),
        ({"default": "None"}, "CRITICAL"),
        ({"Host.Results": "Error"}, "INFO"),
    ],
)
def test_the_level_of_functions_goes_before_the_default_one(tmp_path: Path, levels: Any, level: str) -> None:
    assert read_host_json(_host_json(tmp_path, {"logging": {"logLevel": levels}})).log_level == level


def test_an_empty_prefix_and_no_limit_can_be_asked_for(tmp_path: Path) -> None:
    content = {"functionTimeout": "-1", "extensions": {"http": {"routePrefix": ""}}}
    assert read_host_json(_host_json(tmp_path, content)) == HostJson(route_prefix="", timeout=None)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"version": "1.0"}, 'write "version": "2.0"'),
        ({"functionTimeout": "soon"}, "functionTimeout: 'soon' is no time span"),
        ({"functionTimeout": "00:00:00"}, "more than zero"),
        ({"extensions": {"http": 5}}, "http must be an object"),
    ],
)
def test_a_damaged_host_json_is_refused_with_its_fault(tmp_path: Path, content: Any, complaint: str) -> None:
    with pytest.raises(HostError, match=complaint):
        read_host_json(_host_json(tmp_path, content))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00:05", 5), ("00:05", 300), ("1.02:00:00", 93600), ("00:00:00.25", 0.25), ("-00:00:01", -1)],
)
def test_a_time_span_is_read_as_dotnet_writes_it(text: str, seconds: float) -> None:
    assert parse_timespan(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "24:00:00", "00:60:00", "00:00:60", "a:b:c"])
def test_what_is_no_time_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time span"):
        parse_timespan(text)
