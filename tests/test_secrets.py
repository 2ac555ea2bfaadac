"""No key, token or private key that the tests made is in anything that was printed or logged meanwhile.

This runs last, whichever tests run. What it can find depends on them: :mod:`tests.test_secrecy` shows that it finds.
"""

import pytest

from tests.secrecy import Kept, Secrets, collect, outputs, search

# Tests that leave certain secrets behind, by what tells of these.
WITNESSES = {
    "tests/devstack/test_up.py::test_the_function_key_that_is_printed_opens_and_nothing_else_does": [
        *("the signing key", "the private key of a service", "the primary_key of a service", "the key default"),
        *("the secret imagenet-primary-key", "the secret imagenet-certificate", "the private key in"),
    ],
}


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    return collect(tmp_path_factory.getbasetemp())


def test_no_secret_is_in_what_the_tests_and_their_servers_said(
    secrets: Secrets, kept_output: Kept, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()

    assert kept_output.path in outputs(folder)
    assert [str(leak) for leak in search(folder, secrets)] == []


def test_the_secrets_of_the_tests_that_ran_were_searched_for(secrets: Secrets, kept_output: Kept) -> None:
    """A state that lies elsewhere one day must not end the search silently."""
    for test, kinds in WITNESSES.items():
        if test in kept_output.tests:
            assert [kind for kind in kinds if not any(kind in origin for origin in secrets.origins)] == []
