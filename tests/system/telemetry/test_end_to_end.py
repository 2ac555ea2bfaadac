"""One stack in all kinds of trouble, and what a collector, Prometheus, the log and the pages say of it.

The collector is built from OpenTelemetry's published definitions. Every secret and every setting that could carry one
is random here, and searched for wherever anything leaves the gateway.
"""

import re
import secrets
import signal
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

from devstack.authority import fingerprint
from devstack.state import CERTIFICATE, SERVICE
from shared.telemetry import metrics
from shared.telemetry.instruments import Counter, Gauge, Histogram, Instrument
from shared.telemetry.prometheus import name_of
from tests.support.app import PICTURE
from tests.support.collector import Collector, attributes, running_collector
from tests.support.devstack.processes import ServerProcess, wait_until
from tests.support.devstack.running_services import RunningServices
from tests.support.devstack.stack_process import SIMULATED, StackProcess
from tests.support.secrecy import Secrets

IMAGE = {"Content-Type": "image/jpeg"}
PREDICT = "tensorflow.serving.PredictionService/Predict"

# What the trouble leaves in each metric: combinations of attributes that must be among its points.
EXPECTED: Mapping[str, tuple[str, Sequence[Mapping[str, str]]]] = {
    "scoring.request.duration": (
        "s",
        [
            {"scoring.service": SERVICE, "scoring.endpoint": "score", "scoring.outcome": "ok"},
            {"scoring.service": SERVICE, "scoring.endpoint": "open-inference", "scoring.outcome": "rejected"},
            {"scoring.service": "mortal", "scoring.endpoint": "score", "scoring.outcome": "failed"},
        ],
    ),
    "scoring.requests.within_target": ("{request}", [{"scoring.service": SERVICE, "scoring.endpoint": "score"}]),
    "scoring.request.errors": (
        "{request}",
        [
            {"scoring.service": "mortal", "scoring.endpoint": "score", "error.type": "service-unreachable"},
            {"scoring.service": "imagenet-open", "scoring.endpoint": "score", "error.type": "overloaded"},
        ],
    ),
    "scoring.part.duration": (
        "s",
        [{"scoring.service": SERVICE, "scoring.part": part} for part in ("decode", "credentials", "wait", "predict")],
    ),
    "rpc.client.call.duration": (
        "s",
        [
            {
                "rpc.system.name": "grpc",
                "rpc.method": PREDICT,
                "rpc.response.status_code": "OK",
                "scoring.service": SERVICE,
            },
            {
                "rpc.system.name": "grpc",
                "rpc.method": PREDICT,
                "rpc.response.status_code": "UNAUTHENTICATED",
                "error.type": "UNAUTHENTICATED",
                "scoring.service": "imagenet-tensor",
            },
        ],
    ),
    "scoring.images": (
        "{image}",
        [
            {"scoring.service": SERVICE, "scoring.image.handling": "forwarded"},
            {"scoring.service": "imagenet-tensor", "scoring.image.handling": "decoded"},
        ],
    ),
    "scoring.refusals": ("{request}", [{"scoring.service": "imagenet-open", "scoring.refusal.reason": "limit"}]),
    "scoring.admission.limit": ("{image}", [{"scoring.service": "imagenet-open"}]),
    "scoring.admission.in_progress": ("{image}", [{"scoring.service": SERVICE}]),
    "scoring.admission.pace": ("s", [{"scoring.service": SERVICE}]),
    "scoring.retries": (
        "{call}",
        [
            {"scoring.service": "imagenet-tensor", "scoring.retry.reason": "key"},
            {"scoring.service": SERVICE, "scoring.retry.reason": "disconnection"},
        ],
    ),
    "scoring.retry.budget": ("{call}", [{"scoring.service": SERVICE}]),
    "scoring.credentials.age": ("s", [{"scoring.service": SERVICE}]),
    "scoring.credentials.refresh": ("s", [{"scoring.service": SERVICE}]),
    "scoring.credentials.reads": (
        "{read}",
        [{"scoring.service": SERVICE}, {"scoring.service": SERVICE, "error.type": "vault-unreachable"}],
    ),
    "scoring.channel.replacements": (
        "{channel}",
        [
            {"scoring.service": SERVICE, "scoring.replacement.reason": "added"},
            {"scoring.service": SERVICE, "scoring.replacement.reason": "removed"},
        ],
    ),
    "scoring.certificate.remaining": (
        "s",
        [
            {"scoring.service": SERVICE, "scoring.certificate.kind": "pinned"},
            {"scoring.service": SERVICE, "scoring.certificate.kind": "served"},
            {"scoring.service": "imagenet-tensor", "scoring.certificate.kind": "client"},
        ],
    ),
    "scoring.rotation.events": (
        "{event}",
        [
            {"scoring.service": SERVICE, "scoring.rotation.event": kind}
            for kind in ("pin-added", "certificate-rotated", "old-pins-dropped", "rotation-blocked")
        ],
    ),
    "scoring.rotation.phase.age": ("s", [{"scoring.service": SERVICE, "scoring.rotation.phase": "steady"}]),
    "scoring.memory.use": ("By", [{"scoring.memory.kind": "bodies"}, {"scoring.memory.kind": "decoding"}]),
    "scoring.memory.limit": ("By", [{}]),
    "scoring.traffic.share": (
        "1",
        [{"scoring.service": "both", "scoring.traffic.member": one} for one in (SERVICE, "imagenet-tensor")],
    ),
    "scoring.log.records": (
        "{record}",
        [{"scoring.log.level": "warning", "code.function.name": "cache._record_failure"}],
    ),
    "scoring.telemetry.exports": (
        "{export}",
        [
            {"scoring.telemetry.signal": signal, "scoring.outcome": outcome}
            for signal, outcome in (("metrics", "sent"), ("metrics", "refused"), ("traces", "sent"))
        ],
    ),
}
# Counted where the memory for spans is full, which the unit tests fill.
UNSEEN = {"scoring.telemetry.dropped_spans"}


@dataclass
class Watched:
    """The stack after its troubles, and what came out of it."""

    up: StackProcess
    collector: Collector
    secrets: Secrets
    metrics_key: str
    client: httpx.Client
    instrumentation_key: str
    traces: dict[str, str] = field(default_factory=dict)
    answers: list[httpx.Response] = field(default_factory=list)

    @property
    def services(self) -> RunningServices:
        return RunningServices(self.up)

    def score(self, service: str = SERVICE, *, traced: bool = True) -> httpx.Response:
        """Score a picture, in a trace of its own."""
        trace_id = secrets.token_hex(16)
        headers = {**IMAGE, "traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-{'01' if traced else '00'}"}
        response = self.client.post(f"{self.up.url}/api/services/{service}/score", content=PICTURE, headers=headers)
        if traced:
            self.traces[trace_id] = service
        self.answers.append(response)
        return response

    def points(self, name: str) -> list[dict[str, str]]:
        """The attributes of the points of a metric in the latest export."""
        if not self.collector.metrics:
            return []
        metric = self.collector.latest().get(name)
        if metric is None:
            return []
        kind = metric.WhichOneof("data")
        return [attributes(point) for point in getattr(metric, str(kind)).data_points]

    def has(self, name: str, **labels: str) -> bool:
        """Whether a metric has a point with such attributes, by the last part of their names."""

        def matches(point: Mapping[str, str]) -> bool:
            found = {key.rpartition(".")[2]: value for key, value in point.items()}
            return labels.items() <= found.items()

        return any(map(matches, self.points(name)))

    def until(self, name: str, service: str = SERVICE, **labels: str) -> None:
        """Score until a metric has such a point."""

        def arrived() -> bool:
            self.score(service, traced=False)
            return self.has(name, service=service, **labels)

        wait_until(arrived, f"{name} has {labels}")


def canary() -> str:
    return secrets.token_urlsafe(24)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("telemetry")
    key, header, hook, instrumentation = canary(), canary(), canary(), str(uuid.uuid4())
    searched = Secrets()
    for name, value in (("METRICS_KEY", key), ("OTEL_..._HEADERS", header), ("ROTATION_WEBHOOK_URL", hook)):
        searched.add(value, name)
    mortal = ServerProcess(
        "devstack.fpga", "--insecure", "--engine", "simulated", "--latency-ms", "0", log=folder / "mortal.log"
    )
    with mortal, running_collector() as collector:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={header}",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
            "METRICS_KEY": key,
            "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={instrumentation}",
            "ROTATION_WEBHOOK_URL": f"{collector.url}/{hook}",
            "ROTATION_SCHEDULE": "* * * * * *",
            "ROTATION_GRACE_SECONDS": "1",
            "CREDENTIALS_REFRESH_SECONDS": "1",
            "SERVICES": f"{SERVICE}, imagenet-tensor, imagenet-open, both, mortal",
            "SERVICE__BOTH__TRAFFIC": f"{SERVICE}:90,imagenet-tensor:10",
            "SERVICE__IMAGENET_TENSOR__CLIENT_CERTIFICATE_SECRET": "own-certificate",
            # No rotation mends this one.
            "SERVICE__IMAGENET_TENSOR__PRIMARY_KEY_SECRET": "own-primary-key",
            "SERVICE__IMAGENET_OPEN__MAX_CONCURRENCY": "1",
            "SERVICE__MORTAL__ADDRESS": "127.0.0.1",
            "SERVICE__MORTAL__PORT": mortal.address.rpartition(":")[2],
            "SERVICE__MORTAL__TLS": "insecure-no-key-is-sent",
        }
        with StackProcess(folder / "stack", *SIMULATED, environment=settings) as up:
            with httpx.Client(timeout=30, trust_env=False) as client:
                run = Watched(up.until_serving(), collector, searched, key, client, instrumentation)
                _make_trouble(run, mortal)
                yield run
            assert up.signal(signal.SIGINT).wait_for_end() == 0


def _make_trouble(run: Watched, mortal: ServerProcess) -> None:
    services, vault, base = run.services, run.services.vault, run.up.url
    own = vault.files.authority.issue(["gateway"], purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
    run.secrets.add(own.key.decode(), "the client certificate")
    right = vault.get(f"{SERVICE}-primary-key")
    run.secrets.add(right, "the primary key")
    run.secrets.add(vault.get(f"{SERVICE}-secondary-key"), "the secondary key")
    vault.set("own-primary-key", right)
    vault.set("own-certificate", (own.key + own.chain).decode())
    wait_until(lambda: run.score("imagenet-tensor", traced=False).status_code == 200, "the client certificate is read")
    for service in (SERVICE, "imagenet-tensor", "imagenet-open", "both", "mortal"):
        assert run.score(service).status_code == 200
    run.answers.append(run.client.post(f"{base}/v2/models/{SERVICE}/infer", content=b"{"))
    run.collector.status = 503
    before = len(run.collector.headers)
    wait_until(lambda: len(run.collector.headers) > before + 3, "exports are refused")
    run.collector.status = 200

    # A key is refused.
    wrong = canary()
    run.secrets.add(wrong, "the refused key")
    vault.set("own-primary-key", wrong)
    run.until("scoring.retries", "imagenet-tensor", reason="key")
    vault.set("own-primary-key", right)

    # The vault is away.
    vault.fault(mode="error")
    run.until("scoring.credentials.reads", type="vault-unreachable")
    run.until("scoring.rotation.events", event="rotation-blocked")
    vault.fault()

    # The certificate rotates.
    issued = vault.files.authority.issue()
    run.secrets.add(issued.key.decode(), "the service's certificate")
    vault.set(CERTIFICATE, (issued.key + issued.chain).decode())
    run.until("scoring.rotation.events", event="old-pins-dropped")
    assert services.served == fingerprint(issued.certificate)
    run.until("scoring.channel.replacements", reason="removed")

    # The service is slow, breaks connections, and another one is killed.
    with services.control() as plane, ThreadPoolExecutor(6) as threads:
        plane.admin(SERVICE, {"faults": {"delay_ms": 300}})
        list(threads.map(run.score, ["imagenet-open"] * 6))
        plane.admin(SERVICE, {"faults": {"drop_next": 1}})
        run.until("scoring.retries", reason="disconnection")
        plane.admin(SERVICE, {"faults": {}})
    mortal.stop(signal.SIGKILL)
    assert run.score("mortal").status_code == 503
    run.until("scoring.request.errors", "mortal", type="service-unreachable")
    wait_until(lambda: run.has("scoring.rotation.phase.age", phase="steady"), "the rotation has ended")
    sent = set(run.traces)
    wait_until(lambda: sent <= {span.trace_id.hex() for span in run.collector.spans()}, "all traces arrive")


def kind_of(instrument: Instrument) -> str:
    return {Counter: "sum", Histogram: "histogram", Gauge: "gauge"}[type(instrument)]


def test_every_metric_arrives_with_its_unit_and_attributes(watched: Watched) -> None:
    found = watched.collector.latest()

    assert set(EXPECTED) | UNSEEN == {one.about.name for one in metrics.INSTRUMENTS}
    assert found.keys() - UNSEEN == set(EXPECTED)
    for name, (unit, wanted) in EXPECTED.items():
        about = metrics.BY_NAME[name].about
        points = watched.points(name)
        assert (found[name].unit, found[name].WhichOneof("data")) == (unit, kind_of(metrics.BY_NAME[name])), name
        assert [one for one in wanted if one not in points] == [], f"{name} has {points}"
        assert all(point.keys() <= set(about.attributes) for point in points)
        if found[name].WhichOneof("data") == "sum":
            assert found[name].sum.is_monotonic


def test_counts_never_go_down_from_one_export_to_the_next(watched: Watched) -> None:
    latest: dict[tuple[str, str], float] = {}
    for export in watched.collector.metrics:
        for metric in export.resource_metrics[0].scope_metrics[0].metrics:
            points: list[Any] = [*metric.sum.data_points, *metric.histogram.data_points]
            for point in points:
                key = metric.name, str(sorted(attributes(point).items()))
                value = point.as_double if metric.HasField("sum") else point.count
                assert value >= latest.get(key, 0), key
                latest[key] = value


def test_a_trace_goes_from_its_caller_to_the_inference_service(watched: Watched) -> None:
    """One root for each request, under the caller's trace; the service logged the call's own span as its parent."""
    spans: defaultdict[str, list[Span]] = defaultdict(list)
    for span in watched.collector.spans():
        spans[span.trace_id.hex()].append(span)
    log = (watched.up.folder / "logs" / "control.log").read_text()
    received = set(re.findall(r"in trace ([0-9a-f]{32}), called by span ([0-9a-f]{16})", log))

    assert spans.keys() == watched.traces.keys()
    joined = 0
    for trace_id, found in spans.items():
        [root] = [span for span in found if span.name == "score"]
        assert attributes(root)["scoring.service"] in {watched.traces[trace_id], SERVICE, "imagenet-tensor"}
        assert {span.parent_span_id for span in found if span is not root} <= {root.span_id}
        calls = [
            span
            for span in found
            if span.kind == Span.SPAN_KIND_CLIENT and attributes(span)["rpc.response.status_code"] == "OK"
        ]
        if watched.traces[trace_id] != "mortal":
            assert {(trace_id, span.span_id.hex()) for span in calls} <= received
            joined += len(calls)
    assert joined >= 4  # one of each service at least


def test_prometheus_gets_the_same(watched: Watched) -> None:
    answer = httpx.get(
        f"{watched.up.url}/api/metrics", headers={"Authorization": f"Bearer {watched.metrics_key}"}, timeout=30
    )
    names = {family.name for family in text_string_to_metric_families(answer.raise_for_status().text)}

    wanted = {name_of(metrics.BY_NAME[name]).removesuffix("_total") for name in EXPECTED}
    assert wanted <= names


def test_no_secret_is_in_an_export_a_line_of_the_log_or_a_page(watched: Watched) -> None:
    up, searched = watched.up, watched.secrets
    for file in ("identity.key", "signing.key"):
        path = up.folder / "state" / file
        searched.add_bytes(path.read_bytes(), file) if file == "signing.key" else searched.add(path.read_text(), file)
    assert len(searched.origins) >= 10, searched.origins
    paths = [
        "/",
        "/operations",
        "/api/docs",
        "/api/openapi.json",
        "/api/services",
        "/api/health/ready",
        "/api/health/services",
    ]
    paths += [
        "/api/health/ready",
        "/api/health/services",
        "/api/operations",
        "/api/rotation",
        "/api/metrics",
        "/v1/models/imagenet",
        "/v2/models/imagenet-open",
        "/nothing",
    ]
    pages = {path: httpx.get(up.url + path, timeout=30).content for path in paths}
    authorized = httpx.get(
        f"{up.url}/api/metrics", headers={"Authorization": f"Bearer {watched.metrics_key}"}, timeout=30
    )
    collector = watched.collector
    outputs: dict[str, Sequence[bytes]] = {
        "an export": [export.SerializeToString() for export in (*collector.metrics, *collector.traces)],
        "an answer": [answer.content + str(answer.headers).encode() for answer in (*watched.answers, authorized)],
        "the log": [up.err.encode(), up.out.encode()],
        **{file.name: [file.read_bytes()] for file in (up.folder / "logs").iterdir()},
        **{path: [page] for path, page in pages.items()},
    }

    leaks = {
        (origin, place) for place, contents in outputs.items() for one in contents for _, origin in searched.find(one)
    }

    assert leaks == set()
    assert not [one for contents in outputs.values() for one in contents if watched.instrumentation_key.encode() in one]
    # The search finds what there is: each key went to the collector.
    assert {origin for _, origin in searched.find(str(collector.headers).encode())} == {"OTEL_..._HEADERS"}
