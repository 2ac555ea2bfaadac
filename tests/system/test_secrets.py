"""No key, token or private key of the tests is in their output or logs.

These tests run last, and search for the secrets of the tests that were run before;
:mod:`tests.unit.support.test_secrecy` tests the search.
"""

import pytest

from tests.conftest import ROOT
from tests.support.secrecy import CapturedOutput, Secrets, collect, outputs, search

# The origins of secrets that are known to be in the state of certain tests.
KNOWN_ORIGINS = {
    "tests/system/devstack/test_up.py::test_the_printed_function_key_is_accepted_and_no_other": [
        *("signing.key", "the private key in key in", "primary_key in", "default in", "imagenet-primary-key.json"),
        *("the private key in value in", "ca.key"),
    ],
}


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    return collect(tmp_path_factory.getbasetemp())


def test_no_secret_is_in_the_output_of_the_tests_and_their_servers(
    secrets: Secrets, captured_output: CapturedOutput, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()

    assert captured_output.path in outputs(folder)
    assert [str(leak) for leak in search(folder, secrets)] == []


def test_the_secrets_of_the_tests_were_collected(secrets: Secrets, captured_output: CapturedOutput) -> None:
    """If the state of the servers is moved, the search must fail, instead of finding nothing."""
    for test, kinds in KNOWN_ORIGINS.items():
        file, name = test.split("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{test} was renamed"
        if test in captured_output.tests:
            assert [kind for kind in kinds if not any(kind in origin for origin in secrets.origins)] == []
