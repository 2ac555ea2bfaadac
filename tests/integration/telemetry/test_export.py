"""Exports over TLS, and what becomes of spans while a collector does not take them."""

import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from devstack.authority import Authority, Issued
from shared.telemetry import RequestContext, metrics
from shared.telemetry.export import Exporter
from shared.telemetry.otlp_receiver import Collector
from shared.telemetry.target import Target
from shared.telemetry.tracer import Sampler, Tracer
from tests.support.collector import Collector as Receiver
from tests.support.collector import attributes, running_collector, running_grpc_collector

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

    def export(ca: str) -> None:
        target = Target(url, KEY, seconds=5, ca_file=ca)
        Exporter(lambda: Collector(target, None, {}, delta=False), 60).flush(5)

    export("")
    assert receiver.headers == []
    assert "the collector did not accept the metrics" in caplog.text
    assert KEY["api-key"] not in caplog.text

    export(str(ca_file))
    assert [one["api-key"] for one in receiver.headers] == ["a secret"]
    assert len(receiver.metrics) == 1


def test_spans_that_are_refused_wait_and_a_flush_does_not_wait_for_a_collector_that_hangs() -> None:
    """Neither waits, nor fills the memory."""

    def exports(outcome: str) -> float:
        return metrics.EXPORTS.points.get(("traces", outcome), 0)

    tracer = Tracer(Sampler(follows=False, ratio=1))
    refused, lost = exports("refused"), exports("lost")
    with running_collector() as receiver:
        target = Target(f"{receiver.url}/v1/traces", seconds=30)
        exporter = Exporter(lambda: Collector(None, target, {}, delta=False), 60, tracer, with_metrics=False)

        def trace() -> None:
            tracer.finish(tracer.traced(RequestContext("id", time.monotonic() + 1), ""), "score", 200, {})

        receiver.status = 503
        trace()
        exporter.flush(5)
        receiver.status = 200
        exporter.flush(5)
        assert (len(receiver.spans()), exports("refused") - refused) == (1, 1)

        receiver.answering.clear()
        trace()
        hanging = threading.Thread(target=exporter.flush, args=(20,))
        hanging.start()
        receiver.wait_for_spans(2)
        started = time.monotonic()
        exporter.flush(0.1)
        assert time.monotonic() - started < 10
        receiver.answering.set()
        hanging.join()
        trace()
        receiver.answering.clear()
        exporter.flush(0.2)
        assert exports("lost") - lost == 1


def test_exports_go_over_grpc_where_a_key_and_a_certificate_are_checked(
    issued: Issued, authority: Authority, tmp_path: Path
) -> None:
    """Both signals, compressed, over mutual TLS; what is refused is sent again, and what is not answered is lost."""
    own = authority.issue(["gateway"], purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
    files = {"ca": authority.pem, "certificate": own.chain, "key": own.key}
    for name, content in files.items():
        (tmp_path / f"{name}.pem").write_bytes(content)
    ca, certificate, key = (str(tmp_path / f"{name}.pem") for name in files)
    credentials = grpc.ssl_server_credentials([(issued.key, issued.chain)], authority.pem, require_client_auth=True)
    tracer = Tracer(Sampler(follows=False, ratio=1))

    def trace() -> None:
        tracer.finish(tracer.traced(RequestContext("id", time.monotonic() + 1), ""), "score", 200, {})

    with running_grpc_collector(credentials) as receiver:
        target = Target(
            receiver.url,
            {"Api-Key": "a secret"},
            5,
            True,
            ca,
            client_certificate=certificate,
            client_key=key,
            grpc=True,
        )
        exporter = Exporter(
            lambda: Collector(target, target, {"service.name": "gate"}, delta=True), 60, tracer, delta=True
        )

        def counted(code: grpc.StatusCode) -> float:
            receiver.code = code
            metrics.RETRIES.add(("grpc", "key"))
            trace()
            exporter.flush(5)
            points = receiver.latest()["scoring.retries"].sum.data_points
            return sum(point.as_double for point in points if attributes(point)["scoring.service"] == "grpc")

        counted(grpc.StatusCode.OK)
        codes = (
            grpc.StatusCode.OK,
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.OK,
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.OK,
        )
        assert [counted(code) for code in codes] == [1, 1, 2, 2, 1]
        # One was refused, and came with the next; one was invalid.
        assert len(receiver.spans()) == 5
        assert receiver.headers[0]["api-key"] == "a secret"
        resource = receiver.metrics[0].resource_metrics[0].resource
        assert attributes(resource) == {"service.name": "gate"}

        lost = metrics.EXPORTS.points.get(("metrics", "lost"), 0)
        receiver.code = grpc.StatusCode.OK
        receiver.answering.clear()
        exporter.flush(0.2)
        assert metrics.EXPORTS.points[("metrics", "lost")] - lost == 1
        exporter.close()

    exporter.flush(0.5)  # nobody is there any more


def test_no_key_goes_over_grpc_to_a_collector_that_is_not_trusted(issued: Issued) -> None:
    credentials = grpc.ssl_server_credentials([(issued.key, issued.chain)])
    with running_grpc_collector(credentials) as receiver:
        target = Target(receiver.url, KEY, 5, grpc=True)
        Exporter(lambda: Collector(target, None, {}, delta=False), 60).flush(5)

    assert receiver.headers == []
