"""Exports in a thread of their own: whatever the receiver does costs telemetry, and no request.

The thread ends with the process. Nothing waits for it, and what waits in it is bounded: cumulative figures are in the
next export anyway, of deltas those that the receiver refused, and refused spans as long as few enough wait.
"""

import threading
import time
from collections.abc import Callable

from shared.telemetry import metrics
from shared.telemetry.log import fault_path, log
from shared.telemetry.receiver import PARTIAL, REFUSED, SENT, Outcome, Receiver
from shared.telemetry.snapshot import Snapshot, difference, take
from shared.telemetry.tracer import Tracer

# Seconds between two exports of spans.
SPANS_SECONDS = 5.0
# Failed exports in a row between two lines of the log.
_LOGGED = 20
# Seconds for which a receiver can have exports stop at a time.
_LONGEST_PAUSE = 600.0


class Exporter:
    """Exports the metrics every ``interval`` seconds, and the spans of a tracer sooner, from a daemon thread.

    The thread makes the receiver. ``delta``: each export has what was counted since the last one that was not refused.
    """

    # _exporting  held during an export
    # _last       what the receiver has, for deltas
    # _failures   failed exports in a row
    # _resume     when the receiver accepts exports again, by time.monotonic()

    def __init__(
        self,
        make_receiver: Callable[[], Receiver],
        interval: float,
        tracer: Tracer | None = None,
        *,
        seconds: float = 10.0,
        with_metrics: bool = True,
        delta: bool = False,
    ) -> None:
        self._make_receiver = make_receiver
        self._interval = interval
        self._tracer = tracer
        self._seconds = seconds
        self._with_metrics = with_metrics
        self._delta = delta
        self._receiver: Receiver | None = None
        self._last: Snapshot | None = None
        self._failures = 0
        self._resume = 0.0
        self._exporting = threading.Lock()
        self._closed = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="telemetry", daemon=True).start()

    def flush(self, seconds: float) -> None:
        """Export now, unless an export in progress takes longer than that, or the receiver asked for a pause."""
        if self._exporting.acquire(timeout=seconds):
            try:
                self._export(seconds, with_metrics=True)
            finally:
                self._exporting.release()

    def close(self) -> None:
        """Export no more; an export in progress ends by itself."""
        self._closed.set()

    def _run(self) -> None:
        pause = self._interval if self._tracer is None else min(self._interval, SPANS_SECONDS)
        due = time.monotonic() + self._interval
        while not self._closed.wait(pause):
            is_due = time.monotonic() >= due
            if is_due:
                due = time.monotonic() + self._interval
            with self._exporting:
                self._export(self._seconds, with_metrics=is_due)
        with self._exporting:
            if self._receiver is not None:
                self._receiver.close()

    def _export(self, seconds: float, *, with_metrics: bool) -> None:
        # While exports fail, spans wait for the metrics' turn.
        if time.monotonic() < self._resume or (self._failures and not with_metrics):
            return
        try:
            if self._receiver is None:
                self._receiver = self._make_receiver()
            self._export_spans(self._receiver, seconds)
            if with_metrics and self._with_metrics:
                self._export_metrics(self._receiver, seconds)
        except Exception as fault:  # the thread goes on
            log.error("telemetry could not be exported: internal-error %s", fault_path(fault))

    def _export_spans(self, receiver: Receiver, seconds: float) -> None:
        if self._tracer is None or not (finished := self._tracer.take()):
            return
        outcome = receiver.traces(finished, seconds)
        self._note("traces", receiver, outcome)
        if outcome.result == REFUSED:
            self._tracer.put_back(finished)

    def _export_metrics(self, receiver: Receiver, seconds: float) -> None:
        snapshot = take()
        outcome = receiver.metrics(difference(snapshot, self._last) if self._delta else snapshot, seconds)
        self._note("metrics", receiver, outcome)
        # What was sent and not answered may have arrived: rather than twice, it is then not counted at all.
        if outcome.result != REFUSED:
            self._last = snapshot

    def _note(self, signal: str, receiver: Receiver, outcome: Outcome) -> None:
        metrics.EXPORTS.add((signal, outcome.result))
        if outcome.pause:
            self._resume = time.monotonic() + min(outcome.pause, _LONGEST_PAUSE)
        if outcome.result == SENT:
            self._failures = 0
            return
        if self._failures % _LOGGED == 0:
            # Without the address: it may carry a key.
            what = "all of the" if outcome.result == PARTIAL else "the"
            log.warning("%s did not accept %s %s: %s", receiver.name, what, signal, outcome.why)
        self._failures += 1
