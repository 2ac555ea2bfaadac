"""What the prediction clients take and refuse before anything is sent."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.fpga.prediction_client import AsyncPredictionClient, PredictionClient
from shared.fpga.prediction_connection import ROOTS_VARIABLE
from tests.conftest import ROOT

JPEG = b"\xff\xd8\xff a picture"
DAMAGED = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"address": None}, "address is missing"),
        ({"address": ""}, "address is missing"),
        ({"address": "https://cats.example.com"}, "address is a URL"),
        ({"port": None}, "port is None"),
        ({"port": 0}, "port is 0"),
        ({"port": 70000}, "port is 70000"),
        ({"use_ssl": False}, "access_token would travel in the clear"),
        ({"use_ssl": False, "access_token": "", "root_certificates": b"x"}, "root_certificates says whom to trust"),
        ({"use_ssl": False, "access_token": "", "ssl_target_name": "x"}, "ssl_target_name says whom to trust"),
        ({"access_token": "the-secret\n"}, "access_token must be printable ASCII"),
        ({"access_token": " the-secret"}, "access_token must be printable ASCII"),
        ({"access_token": "the-secret-ключ"}, "access_token must be printable ASCII"),
        ({"root_certificates": b"nothing of the kind"}, "root_certificates must hold certificates as PEM"),
        ({"root_certificates": DAMAGED}, "none that can be read"),
    ],
)
def test_arguments_that_cannot_be_used(arguments: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"address": "localhost", "port": 443, "use_ssl": True, "access_token": "the-secret"}

    for kind in (PredictionClient, AsyncPredictionClient):
        with pytest.raises(ValueError, match=words) as caught:
            kind(**{**given, **arguments})
        assert "the-secret" not in str(caught.value)


def test_a_file_of_roots_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        PredictionClient("localhost", 443, True, root_certificates=tmp_path / "roots.pem")
    monkeypatch.setenv(ROOTS_VARIABLE, str(tmp_path / "others.pem"))
    with pytest.raises(FileNotFoundError):
        PredictionClient("localhost", 443, True)


@pytest.mark.parametrize("timeout", [0, -1, None, float("inf"), float("nan")])
def test_every_call_has_a_deadline(timeout: Any) -> None:
    with PredictionClient("localhost", 443) as client, pytest.raises(ValueError, match="timeout is"):
        client.score_image(JPEG, timeout)


def test_arrays_that_hold_no_numbers() -> None:
    with PredictionClient("localhost", 443) as client, pytest.raises(TypeError, match="real numbers is needed"):
        client.score_numpy_array(np.array(["a", "b"]))


def test_the_public_clients_positions_are_kept() -> None:
    client = PredictionClient("10.0.0.4", 443, True, "the-secret", timedelta(minutes=2))

    assert repr(client) == "<PredictionClient dns:///10.0.0.4:443 TLS>"
    client.close()


def test_importing_the_client_does_not_import_numpy() -> None:
    code = "import sys, shared.fpga.prediction_client; sys.exit('numpy' in sys.modules)"

    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False)

    assert ended.returncode == 0
