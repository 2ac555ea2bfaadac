"""A real Triton: where it cannot run, these tests say why and are skipped; with REQUIRE_TRITON they fail."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from devstack.triton import TritonUnavailable, ensure_environment
from tests.support.devstack.processes import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def triton_environment() -> None:
    """Triton's environment, which is installed first."""
    try:
        ensure_environment()
    except TritonUnavailable as error:
        if os.environ.get("REQUIRE_TRITON"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def triton(triton_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:  # noqa: ARG001
    """A running server, without TLS."""
    log: Path = tmp_path_factory.mktemp("triton") / "triton.log"
    with ServerProcess("devstack.triton", log=log) as server:
        yield server
