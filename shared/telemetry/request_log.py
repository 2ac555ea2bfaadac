"""One line of JSON in the log for a request that failed by the gateway's or the service's doing, or that was slow.

A request that went well has none: in Azure each line is a message on the worker's stream. Nor has each of many that
fail alike: after some lines within a minute they are counted, and the count is in the next line.
"""

import json
import time
from collections.abc import Mapping

from shared.telemetry.log import log

# Lines of one kind within so many seconds.
LINES, SECONDS = 10, 60.0


class RepeatedLines:
    """Decides which lines of a kind are written; kinds are endpoints, services and problem types, so they are few."""

    # _kinds  when the first line of the latest lot was written, how many since, and how many were not

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, ...], tuple[float, int, int]] = {}

    def admit(self, kind: tuple[str, ...], now: float) -> int | None:
        """How many lines of the kind were not written since the last one; None where this one is not either."""
        since, written, omitted = self._kinds.get(kind, (now, 0, 0))
        if now - since >= SECONDS:
            since, written = now, 0
        if written >= LINES:
            self._kinds[kind] = since, written, omitted + 1
            return None
        self._kinds[kind] = since, written + 1, 0
        return omitted


_lines = RepeatedLines()


def write(level: int, kind: tuple[str, ...], about: Mapping[str, object], lines: RepeatedLines = _lines) -> None:
    """Write a line, unless many of its kind were; members without a value are left out."""
    if not log.isEnabledFor(level):
        return
    omitted = lines.admit(kind, time.monotonic())
    if omitted is None:
        return
    members = {name: value for name, value in {**about, "not_logged": omitted}.items() if value}
    log.log(level, "%s", json.dumps(members))
