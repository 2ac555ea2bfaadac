"""Importing the app: cheap, and safe whatever the settings are."""

import json
import subprocess
import sys

from tests.conftest import ROOT

# Each costs tens to hundreds of milliseconds, so each waits for the first request that needs it.
SLOW = {"azure.identity", "azure.keyvault.secrets", "cryptography", "grpc", "google.protobuf", "numpy", "PIL"}


def imported(environment: dict[str, str]) -> set[str]:
    program = "import function_app, json, sys; print(json.dumps(sorted(sys.modules)))"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return set(json.loads(ended.stdout))


def test_the_slow_packages_wait_for_their_first_use() -> None:
    assert imported({}) & SLOW == set()


def test_wrong_settings_do_not_keep_the_app_from_being_found() -> None:
    # An exception at import would leave the app without any function, and nobody to say why.
    assert "functions.score" in imported({"SERVICES": "?", "KEY_VAULT_URL": "nonsense"})
