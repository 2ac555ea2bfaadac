"""Running a function for one of its triggers: the id, the trace context, the time limit and the line in the log."""

import logging
import random
import re
import time
import uuid
from collections.abc import Mapping

from azure_functions_runtime.bindings.datumdef import Datum

from devstack.host import worker
from devstack.host.functions import Function
from devstack.host.logs import log

# https://www.w3.org/TR/trace-context/#traceparent-header, version 00.
_TRACE_PARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Invoker:
    """Runs functions, each for at most ``timeout`` seconds (None: no limit)."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout

    async def run(
        self,
        function: Function,
        data: Datum,
        *,
        metadata: Mapping[str, Datum] | None = None,
        trace_parent: str = "",
        trace_state: str = "",
    ) -> worker.Outcome:
        """Invoke a function and log how it ended. What goes wrong in it is part of the outcome, never raised."""
        invocation_id = str(uuid.UUID(int=random.getrandbits(128), version=4))
        if not _TRACE_PARENT.fullmatch(trace_parent):
            trace_parent, trace_state = new_trace_parent(), ""
        started = time.perf_counter()
        try:
            outcome = await worker.invoke(
                function,
                invocation_id,
                data,
                metadata=metadata,
                trace_parent=trace_parent,
                trace_state=trace_state,
                timeout=self._timeout,
            )
        except TimeoutError:
            outcome = worker.Outcome(succeeded=False, error=f"it ran longer than functionTimeout ({self._timeout:g} s)")
        _log(function, invocation_id, outcome, time.perf_counter() - started)
        return outcome


def new_trace_parent() -> str:
    """Start a trace of our own, not sampled, as the real host does when a request brings none."""
    bits = random.getrandbits
    return f"00-{bits(128) or 1:032x}-{bits(64) or 1:016x}-00"  # an id, no secret


def _log(function: Function, invocation_id: str, outcome: worker.Outcome, seconds: float) -> None:
    if outcome.succeeded:
        if log.isEnabledFor(logging.INFO):
            log.info(
                "Executed 'Functions.%s' (Succeeded, Id=%s, Duration=%dms)",
                function.name,
                invocation_id,
                seconds * 1000,
            )
        return
    log.error(
        "Executed 'Functions.%s' (Failed, Id=%s, Duration=%dms): %s%s",
        function.name,
        invocation_id,
        seconds * 1000,
        outcome.error,
        f"\n{outcome.traceback.rstrip()}" if outcome.traceback else "",
    )
