"""Exports over TLS, and what becomes of spans while a collector does not take them."""

import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.authority import Authority, Issued
from shared.telemetry import RequestContext, metrics
from shared.telemetry.export import Collector, Exporter
from shared.telemetry.tracer import Sampler, Tracer
from tests.support.collector import Collector as Receiver
from tests.support.collector import running_collector

KEY = {"api-key": "a secret"}


@pytest.fixture
def receiver(issued: Issued, tmp_path: Path) -> Iterator[Receiver]:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(issued.chain)
    key.write_bytes(issued.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with running_collector(context) as running:
        yield running


def test_a_key_goes_to_a_trusted_collector_alone(
    receiver: Receiver, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority.pem)
    url = f"{receiver.url}/v1/metrics"

    Exporter(Collector(metrics_url=url, headers=KEY, seconds=5), 60).flush(5)
    assert receiver.headers == []
    assert "the collector did not accept the metrics" in caplog.text
    assert KEY["api-key"] not in caplog.text

    Exporter(Collector(metrics_url=url, headers=KEY, seconds=5, ca_file=str(ca_file)), 60).flush(5)
    assert [one["api-key"] for one in receiver.headers] == ["a secret"]
    assert len(receiver.metrics) == 1


def test_spans_that_are_refused_are_dropped_and_a_flush_does_not_wait_for_a_collector_that_hangs() -> None:
    """Neither waits, nor fills the memory."""

    def exports(outcome: str) -> float:
        return metrics.EXPORTS.points.get(("traces", outcome), 0)

    tracer = Tracer(Sampler(follows=False, ratio=1))
    refused, lost = exports("refused"), exports("lost")
    with running_collector() as receiver:
        exporter = Exporter(Collector(traces_url=f"{receiver.url}/v1/traces", seconds=30), 60, tracer)

        def trace() -> None:
            tracer.finish(tracer.traced(RequestContext("id", time.monotonic() + 1), ""), "score", 200, {})

        receiver.status = 503
        trace()
        exporter.flush(5)
        receiver.status = 200
        exporter.flush(5)
        assert (receiver.spans(), exports("refused") - refused) == ([], 1)

        receiver.answering.clear()
        trace()
        hanging = threading.Thread(target=exporter.flush, args=(20,))
        hanging.start()
        receiver.wait_for_spans(1)
        started = time.monotonic()
        exporter.flush(0.1)
        assert time.monotonic() - started < 10
        receiver.answering.set()
        hanging.join()
        trace()
        receiver.answering.clear()
        exporter.flush(0.2)
        assert exports("lost") - lost == 1
