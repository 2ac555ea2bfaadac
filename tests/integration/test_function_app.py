"""Importing the app is fast, and succeeds with invalid settings."""

import io
import json
import subprocess
import sys

import pytest
from PIL import Image

from tests.conftest import ROOT

# Each import takes tens to hundreds of milliseconds, and is therefore deferred to the first request that needs it.
SLOW = {"azure.identity", "azure.keyvault.secrets", "cryptography", "grpc", "google.protobuf", "numpy", "PIL"}


def imported(environment: dict[str, str]) -> set[str]:
    program = "import function_app, json, sys; print(json.dumps(sorted(sys.modules)))"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return set(json.loads(ended.stdout))


def test_slow_packages_are_not_imported_with_the_app() -> None:
    assert imported({}) & SLOW == set()


def test_they_are_imported_soon_after_it() -> None:
    """While the Functions host still starts, and in the order in which a first score needs them."""
    program = (
        "import function_app, json, sys\n"
        "from shared.preload import MODULES, PRELOAD\n"
        "PRELOAD._thread.join(60)\n"
        "print(json.dumps([set(MODULES) <= set(sys.modules), sorted(sys.modules)]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={}, capture_output=True, text=True, check=True
    )

    are_all, found = json.loads(ended.stdout)
    assert are_all
    assert set(found) & SLOW == SLOW - {"PIL"}


def test_the_app_can_be_imported_with_invalid_settings() -> None:
    # With an exception at import, the app would have no functions, and could not report the cause.
    assert "functions.score" in imported({"SERVICES": "?", "KEY_VAULT_URL": "nonsense"})


def test_rare_decoders_are_not_imported_for_a_jpeg() -> None:
    """Each import takes milliseconds of a cold start, that of pillow-heif 90."""
    out = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(out, "JPEG")
    program = (
        "import sys; from shared.scoring import images; from shared.settings import Preprocessing\n"
        "images.to_tensor(sys.stdin.buffer.read(), Preprocessing(), 10**6)\n"
        "print(*(name for name in ('pillow_heif', 'PIL.ImageCms', 'PIL.TiffImagePlugin') if name in sys.modules))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, input=out.getvalue(), capture_output=True, check=True
    )

    assert ended.stdout.split() == []


# Those that anybody may call, those for operators, and those that score.
OPEN = {"live", "ready", "web_page", "web_static", "openapi_document", "openapi_page", "operations_page", "metrics"}
OPEN |= {"open_inference_live", "open_inference_ready"}
ADMIN = {"rotation_status", "rotation_run", "operations_status"}
SCORING = {"score", "score_json", "score_image", "score_with_service", "services", "tf_serving_v1", "open_inference_v2"}
SIGN_IN = {"AUTH_LEVEL": "anonymous", "WEBSITE_AUTH_ENABLED": "True"}


@pytest.mark.parametrize(
    ("environment", "level"), [({}, "FUNCTION"), (SIGN_IN, "ANONYMOUS"), ({"AUTH_LEVEL": "anonymous"}, "FUNCTION")]
)
def test_the_level_of_the_routes_that_score_is_a_setting(environment: dict[str, str], level: str) -> None:
    program = (
        "import function_app, json\n"
        "levels = {f.get_function_name(): f.get_trigger().auth_level.value for f in function_app.app.get_functions()"
        " if f.is_http_function()}\n"
        "print(json.dumps(levels))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )

    levels = {name.lower(): value.upper() for name, value in json.loads(ended.stdout).items()}
    expected = dict.fromkeys(SCORING, level) | dict.fromkeys(OPEN, "ANONYMOUS") | dict.fromkeys(ADMIN, "ADMIN")
    assert levels == expected | {"service_health": "FUNCTION", "golden_check": "FUNCTION"}
