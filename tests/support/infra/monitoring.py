"""What the alerts, the dashboard and the workbook of infra/monitoring ask for: names of metrics, attributes, values."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml

from shared.telemetry.instruments import Histogram, Instrument
from shared.telemetry.metrics import BY_NAME, INSTRUMENTS
from shared.telemetry.prometheus import name_of

FOLDER = Path(__file__).resolve().parents[3] / "infra" / "monitoring"

# What a scrape, or the rules themselves, add to the gateway's labels.
_ADDED = {"namespace", "job", "instance", "le"}
_METRIC = re.compile(r'"((?:scoring|rpc)\.[\w.]+)"')
_PROPERTY = re.compile(r'Properties\["([^"]+)"\]')
# A property, or what `extend` called it, beside texts.
_COMPARED = re.compile(
    r'(?:Properties\["(?P<property>[^"]+)"\]\)|\b(?P<name>phase)) (?:==|!?in)\s+(?P<texts>\("[^)]*\)|"[^"]*")'
)


@dataclass(frozen=True)
class Asked:
    """A metric that a query names, its attributes that it names, and the values that these are compared with."""

    metric: str
    attributes: frozenset[str] = frozenset()
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)


def rules(kind: str) -> list[dict[str, Any]]:
    """The Prometheus rules of a kind, ``alert`` or ``record``."""
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def dashboard() -> list[str]:
    """The dashboard's expressions, with what Grafana puts in for its variables."""
    panels = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [one.replace("$__rate_interval", "2m").replace("$job", ".*").replace("$service", ".*") for one in found]


def azure_alerts() -> dict[str, str]:
    """The queries of Azure's alerts by their names; the parameter is put in as Bicep does."""
    known = json.loads((FOLDER / "alerts.json").read_text(encoding="utf-8"))
    rules = [*known["always"], *known["ofRotation"]]
    return {rule["name"]: "\n".join(rule["query"]).replace("ALERT_LATENCY_MS", "2000") for rule in rules}


def workbook() -> list[str]:
    """The workbook's queries, with what Azure puts in for the parameter."""
    items = json.loads((FOLDER / "workbook.json").read_text(encoding="utf-8"))["items"]
    return [one["content"]["query"].replace("{TimeRange:grain}", "5m") for one in items if one["type"] == 3]


def asked_by_promql(expression: str) -> Iterator[Asked]:
    """What an expression asks for, by OpenTelemetry's names; a recorded series as its rule does.

    Raises:
        ValueError: it is no PromQL, or names a series or label that the gateway does not have.
    """
    recorded = {rule["record"]: rule["expr"] for rule in rules("record")}
    grouped: set[str] = set()
    selectors: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, promql.VectorSelector):
            selectors.append(node)
        elif isinstance(node, promql.MatrixSelector):
            selectors.append(node.vector_selector)
        elif isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            grouped.update(node.modifier.labels)

    promql.walk(promql.parse(expression), visit)
    for one in {str(selector): selector for selector in selectors}.values():
        if one.name in recorded:
            yield from asked_by_promql(recorded[one.name])
        else:
            yield _selected(one)
    everywhere = {label.replace(".", "_") for instrument in INSTRUMENTS for label in instrument.about.attributes}
    if unknown := grouped - everywhere - _ADDED:
        raise ValueError(f"no series has the labels {sorted(unknown)}")


def _selected(selector: Any) -> Asked:
    found = _instrument(selector.name)
    labels = {label.replace(".", "_"): label for label in found.about.attributes}
    values: dict[str, frozenset[str]] = {}
    for matcher in selector.matchers.matchers:
        if matcher.name not in labels.keys() | _ADDED:
            raise ValueError(f"{selector.name} has no label {matcher.name}")
        is_any = matcher.value in {"", ".*"}
        if matcher.name in labels and not is_any:
            values[labels[matcher.name]] = frozenset(matcher.value.split("|"))
    return Asked(found.about.name, frozenset(values), values)


def _instrument(series: str) -> Instrument:
    for one in INSTRUMENTS:
        suffixes = ("_bucket", "_sum", "_count") if isinstance(one, Histogram) else ("",)
        if series in {name_of(one) + suffix for suffix in suffixes}:
            return one
    raise ValueError(f"the gateway has no series {series}")


def asked_by_kql(query: str) -> Iterator[Asked]:
    """What a query asks for; of one that joins metrics, each of their attributes must be one of theirs.

    Raises:
        ValueError: it names a metric or property that the gateway does not have.
    """
    names, used = set(_METRIC.findall(_PROPERTY.sub("", query))), set(_PROPERTY.findall(query))
    if unknown := names - BY_NAME.keys():
        raise ValueError(f"the gateway has no metrics {sorted(unknown)}")
    if unknown := used - {label for name in names for label in BY_NAME[name].about.attributes}:
        raise ValueError(f"{sorted(names)} have no properties {sorted(unknown)}")
    values = {
        found["property"] or f"scoring.rotation.{found['name']}": frozenset(re.findall(r'"([^"]*)"', found["texts"]))
        for found in _COMPARED.finditer(query)
    }
    for name in names:
        own = used & set(BY_NAME[name].about.attributes)
        yield Asked(name, frozenset(own), {key: some for key, some in values.items() if key in own})
