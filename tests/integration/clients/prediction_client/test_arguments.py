"""Validation of the clients' arguments before anything is sent."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prediction_client import AsyncPredictionClient, PredictionClient
from prediction_client.connection import ROOTS_VARIABLE

JPEG = b"\xff\xd8\xff an image"
DAMAGED = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"address": None}, "address is missing"),
        ({"address": ""}, "address is missing"),
        ({"address": "https://cats.example.com"}, "address is a URL"),
        ({"port": None}, "port is None"),
        ({"port": 0}, "port is 0"),
        ({"port": 70000}, "port is 70000"),
        ({"use_ssl": False}, "access_token would be sent unencrypted"),
        ({"use_ssl": False, "access_token": "", "root_certificates": b"x"}, "root_certificates only applies to TLS"),
        ({"use_ssl": False, "access_token": "", "ssl_target_name": "x"}, "ssl_target_name only applies to TLS"),
        ({"access_token": "the-secret\n"}, "access_token must be printable ASCII"),
        ({"access_token": " the-secret"}, "access_token must be printable ASCII"),
        ({"access_token": "the-secret-ключ"}, "access_token must be printable ASCII"),
        ({"root_certificates": b"not a certificate"}, "root_certificates must hold PEM certificates"),
        ({"root_certificates": DAMAGED}, "none that can be read"),
    ],
)
def test_invalid_arguments_are_rejected(arguments: dict[str, Any], message: str) -> None:
    valid: dict[str, Any] = {"address": "localhost", "port": 443, "use_ssl": True, "access_token": "the-secret"}

    for kind in (PredictionClient, AsyncPredictionClient):
        with pytest.raises(ValueError, match=message) as caught:
            kind(**{**valid, **arguments})
        assert "the-secret" not in str(caught.value)


def test_a_missing_file_of_root_certificates_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        PredictionClient("localhost", 443, True, root_certificates=tmp_path / "roots.pem")
    monkeypatch.setenv(ROOTS_VARIABLE, str(tmp_path / "others.pem"))
    with pytest.raises(FileNotFoundError):
        PredictionClient("localhost", 443, True)


@pytest.mark.parametrize("timeout", [0, -1, None, float("inf"), float("nan")])
def test_a_timeout_must_be_positive_and_finite(timeout: Any) -> None:
    with PredictionClient("localhost", 443) as client, pytest.raises(ValueError, match="timeout is"):
        client.score_image(JPEG, timeout)


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("10.0.0.4", "dns:///10.0.0.4:443"),
        ("::1", "dns:///[::1]:443"),
        ("10.0.0.4, 10.0.0.5", "ipv4:10.0.0.4:443,10.0.0.5:443"),
    ],
)
def test_the_positional_arguments_are_those_of_the_published_client(address: str, target: str) -> None:
    client = PredictionClient(address, 443, True, "the-secret", timedelta(minutes=2))

    assert repr(client) == f"<PredictionClient {target} TLS>"
    client.close()
