"""The worker's log of each invocation is off, and its warnings are not."""

import logging
from collections.abc import Iterator

import pytest

from shared.telemetry.worker_log import switch_off

NAMES = ("proxy_worker", "azure.functions", "azure_functions_runtime")


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, as the worker sets it."""
    loggers = [logging.getLogger(name) for name in ("", *NAMES)]
    before = [one.level for one in loggers]
    loggers[0].setLevel(logging.INFO)
    yield loggers[0]
    for one, level in zip(loggers, before, strict=True):
        one.setLevel(level)


def test_invocations_are_not_logged_and_warnings_are(root: logging.Logger) -> None:
    switch_off()

    for name in NAMES:
        assert [logging.getLogger(name).isEnabledFor(level) for level in (logging.INFO, logging.WARNING)] == [
            False,
            True,
        ]
    assert root.isEnabledFor(logging.INFO)


def test_a_level_for_debugging_stays(root: logging.Logger) -> None:
    root.setLevel(logging.DEBUG)

    switch_off()

    assert all(logging.getLogger(name).isEnabledFor(logging.DEBUG) for name in NAMES)
