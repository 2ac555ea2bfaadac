"""Invoking a function: the id, the trace context, the time limit and the line in the log."""

import logging
import random
import re
import time
import uuid
from collections.abc import Awaitable, Callable

from azure_functions_runtime.bindings.datumdef import Datum

from devstack.host import worker
from devstack.host.functions import Function
from devstack.host.logs import collected_lines, log

# https://www.w3.org/TR/trace-context/#traceparent-header, version 00.
_TRACE_PARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


type Invoke = Callable[..., Awaitable[worker.Outcome]]
"""Has the form of :func:`devstack.host.worker.invoke`."""


class Invoker:
    """Runs functions, each for at most ``timeout`` seconds (None: no limit), by ``invoke``."""

    def __init__(self, timeout: float | None, invoke: Invoke = worker.invoke) -> None:
        self._timeout = timeout
        self._invoke = invoke

    async def run(
        self,
        function: Function,
        data: Datum,
        *,
        trace_parent: str = "",
        trace_state: str = "",
        only_notable: bool = False,
    ) -> worker.Outcome:
        """Invoke a function and log the outcome, which includes its errors; they are never raised.

        With ``only_notable``, a success is logged only if the function itself has logged something.
        """
        invocation_id = str(uuid.UUID(int=random.getrandbits(128), version=4))
        if not _TRACE_PARENT.fullmatch(trace_parent):
            trace_parent, trace_state = new_trace_parent(), ""
        started = time.perf_counter()
        with collected_lines() as lines:
            try:
                outcome = await self._invoke(
                    function,
                    invocation_id,
                    data,
                    trace_parent=trace_parent,
                    trace_state=trace_state,
                    timeout=self._timeout,
                )
            except TimeoutError:
                error = f"it ran longer than functionTimeout ({self._timeout:g} s)"
                outcome = worker.Outcome(succeeded=False, error=error)
        level = logging.DEBUG if only_notable and not lines else logging.INFO
        _log(function, invocation_id, outcome, time.perf_counter() - started, level)
        return outcome


def new_trace_parent() -> str:
    """A new trace that is not sampled, as the real host starts where a request has none."""
    bits = random.getrandbits
    return f"00-{bits(128) or 1:032x}-{bits(64) or 1:016x}-00"  # an id, not a secret


def _log(function: Function, invocation_id: str, outcome: worker.Outcome, seconds: float, level: int) -> None:
    """``level`` is that of a success."""
    if outcome.succeeded and not log.isEnabledFor(level):
        return
    text = "Executed 'Functions.%s' (%s, Id=%s, Duration=%dms)"
    if outcome.succeeded:
        log.log(level, text, function.name, "Succeeded", invocation_id, seconds * 1000)
        return
    details = f"{outcome.error}\n{outcome.traceback.rstrip()}" if outcome.traceback else outcome.error
    log.error(f"{text}: %s", function.name, "Failed", invocation_id, seconds * 1000, details)
