"""Exports over OTLP/HTTP, in a thread of their own: whatever the collector does costs telemetry, and no request.

The thread ends with the process. Nothing is retried, and nothing waits: cumulative figures are in the next export
anyway, and of deltas those that the collector refused.
"""

import gzip
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.telemetry import metrics
from shared.telemetry.log import fault_path, log
from shared.telemetry.snapshot import Snapshot, difference, take

if TYPE_CHECKING:
    import urllib3

    from shared.telemetry.tracer import Tracer

# It logs each connection that cannot be made.
logging.getLogger("urllib3").setLevel(logging.ERROR)

_SENT, _REFUSED, _LOST = "sent", "refused", "lost"

# Bytes of a response that are read, so that the connection can be used again.
_RESPONSE = 65_536
# Seconds between two exports of spans.
SPANS_SECONDS = 5.0
# Failed exports in a row between two lines of the log.
_LOGGED = 20


@dataclass(frozen=True)
class Collector:
    """Where to, and how; ``seconds`` is the time for one export. Without a URL, a signal is not exported."""

    metrics_url: str = ""
    traces_url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    seconds: float = 10.0
    compressed: bool = False
    ca_file: str = ""
    resource: Mapping[str, str] = field(default_factory=dict)


class Exporter:
    """Exports the metrics every ``interval`` seconds, and the spans of a tracer sooner, from a daemon thread.

    ``delta``: each export has what was counted since the last one that was not refused.
    """

    # _exporting  held during an export
    # _last       what the collector has, for deltas
    # _failures   failed exports in a row

    def __init__(
        self, collector: Collector, interval: float, tracer: "Tracer | None" = None, *, delta: bool = False
    ) -> None:
        self._collector = collector
        self._tracer = tracer
        self._interval = interval
        self._delta = delta
        self._last: Snapshot | None = None
        self._failures = 0
        self._exporting = threading.Lock()
        self._closed = threading.Event()
        self._pool: urllib3.PoolManager | None = None

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="telemetry", daemon=True).start()

    def flush(self, seconds: float) -> None:
        """Export now, unless an export that is in progress takes longer than that."""
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
                self._export(self._collector.seconds, with_metrics=is_due)

    def _export(self, seconds: float, *, with_metrics: bool) -> None:
        try:
            self._export_spans(seconds)
            if with_metrics:
                self._export_metrics(seconds)
        except Exception as fault:  # the thread goes on
            log.error("telemetry could not be exported: internal-error %s", fault_path(fault))

    def _export_spans(self, seconds: float) -> None:
        if self._tracer is None or not (finished := self._tracer.take()):
            return
        from shared.telemetry import otlp_spans  # noqa: PLC0415 - in this thread, not in a cold start

        body = otlp_spans.traces_request(finished, self._collector.resource)
        self._send("traces", self._collector.traces_url, body, seconds)

    def _export_metrics(self, seconds: float) -> None:
        from shared.telemetry import otlp  # noqa: PLC0415 - as above

        if not self._collector.metrics_url:
            return
        snapshot = take()
        content = difference(snapshot, self._last) if self._delta else snapshot
        body = otlp.metrics_request(content, self._collector.resource, delta=self._delta)
        outcome = self._send("metrics", self._collector.metrics_url, body, seconds)
        # What was sent and not answered may have arrived: rather than twice, it is then not counted at all.
        if outcome != _REFUSED:
            self._last = snapshot

    def _send(self, signal: str, url: str, body: bytes, seconds: float) -> str:
        outcome, why = self._post(url, body, min(seconds, self._collector.seconds))
        metrics.EXPORTS.add((signal, outcome))
        if outcome == _SENT:
            self._failures = 0
        else:
            if self._failures % _LOGGED == 0:
                # Without the address: it may carry a key.
                log.warning("the collector did not accept the %s: %s", signal, why)
            self._failures += 1
        return outcome

    def _post(self, url: str, body: bytes, seconds: float) -> tuple[str, str]:
        """How an export ended, and why it failed."""
        import urllib3  # noqa: PLC0415 - as above

        headers = {"Content-Type": "application/x-protobuf", **self._collector.headers}
        if self._collector.compressed:
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        if self._pool is None:
            self._pool = urllib3.PoolManager(maxsize=1, ca_certs=self._collector.ca_file or None)
        try:
            response = self._pool.request(
                "POST",
                url,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(total=seconds),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            response.read(_RESPONSE)
            response.close()
        except urllib3.exceptions.HTTPError as error:
            unsent = urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError
            return _REFUSED if isinstance(error, unsent) else _LOST, type(error).__name__
        if 200 <= response.status < 300:
            return _SENT, ""
        return _REFUSED, f"status {response.status}"
