"""Alerts, dashboard and workbook name only metrics, attributes and values that the code has; each alert is complete."""

import inspect
import re
from collections.abc import Iterable

import pytest
import yaml

from shared.errors import problem_types
from shared.rotation import events, status
from shared.telemetry import record
from shared.telemetry.metrics import BY_NAME, REQUEST_DURATION
from tests.conftest import ROOT
from tests.support.infra import monitoring
from tests.support.infra.monitoring import Asked, asked_by_kql, asked_by_promql

ALERTS = {rule["alert"]: rule for rule in monitoring.rules("alert")}
PROMQL = [rule["expr"] for kind in ("alert", "record") for rule in monitoring.rules(kind)]
KQL = [query for query in (*monitoring.azure_alerts().values(), *monitoring.workbook()) if "AppMetrics" in query]
# The latency that includes the inference service depends on it: its limit is a parameter of the deployment.
IN_AZURE_ONLY = {"ScoringLatency"}


def known_values() -> dict[str, set[str]]:
    """The values of attributes, from the code that sets them."""
    for number in (200, 400, 500):
        record.end(record.begin("score", "id"), number, scores=True)
    return {
        "scoring.outcome": {outcome for _, endpoint, outcome in REQUEST_DURATION.points if endpoint == "score"},
        "error.type": {kind.slug for kind in problem_types()},
        "scoring.rotation.event": {value for value in vars(events).values() if isinstance(value, str)},
        "scoring.rotation.phase": set(re.findall(r'"([a-z-]+)"', inspect.getsource(status.phase))),
    }


def unknown_values(asked: Iterable[Asked]) -> set[str]:
    known = known_values()
    compared = {pair for one in asked for pair in one.values.items()}
    return {f"{name}={value}" for name, values in compared for value in values - known[name]}


def test_only_what_the_code_counts_is_asked_for() -> None:
    asked = [one for expression in (*PROMQL, *monitoring.dashboard()) for one in asked_by_promql(expression)]
    asked += [one for query in KQL for one in asked_by_kql(query)]

    assert unknown_values(asked) == set()
    values = {value for one in asked for some in one.values.values() for value in some}
    assert values >= {"failed", "keys-refused", "stopped", "certificate-rolled-back"}


def test_every_metric_is_on_the_dashboard_and_in_the_workbook() -> None:
    shown = {one.metric for expression in monitoring.dashboard() for one in asked_by_promql(expression)}
    in_workbook = {one.metric for query in KQL for one in asked_by_kql(query)}

    assert shown == set(BY_NAME)
    assert in_workbook == set(BY_NAME)


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("sum(rate(scoring_requests_total[5m]))", "no series scoring_requests_total"),
        ("scoring_images", "no series scoring_images"),
        ("rate(scoring_images_total{reason='x'}[5m])", "scoring_images_total has no label reason"),
        ("sum by (service) (scoring_memory_limit_bytes)", "no series has the labels"),
        ("scoring:failed:ratio_rate7m > 1", "no series scoring:failed:ratio_rate7m"),
        ("sum(rate(scoring_images_total[5m])", "unclosed left parenthesis"),
    ],
)
def test_a_planted_fault_of_an_expression_is_found(expression: str, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        list(asked_by_promql(expression))


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ('AppMetrics | where Name == "scoring.image"', "no metrics ['scoring.image']"),
        (
            'AppMetrics | where Name == "scoring.images" | project Properties["scoring.reason"]',
            "no properties ['scoring.reason']",
        ),
    ],
)
def test_a_planted_fault_of_a_query_is_found(query: str, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        list(asked_by_kql(query))


@pytest.mark.parametrize(
    "asked",
    [
        *asked_by_promql('scoring_rotation_phase_age_seconds{scoring_rotation_phase!~"steady|halted"}'),
        *asked_by_kql(
            'AppMetrics | where Name == "scoring.rotation.phase.age"'
            '| extend phase = tostring(Properties["scoring.rotation.phase"]) | where phase !in ("steady", "halted")'
        ),
    ],
)
def test_a_value_that_never_comes_is_found(asked: Asked) -> None:
    assert unknown_values([asked]) == {"scoring.rotation.phase=halted"}


def test_azure_and_prometheus_have_the_same_alerts() -> None:
    assert set(monitoring.azure_alerts()) == set(ALERTS) | IN_AZURE_ONLY


def test_every_alert_has_a_runbook_and_tests_of_both_kinds() -> None:
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs" / "operate.md").read_text(encoding="utf-8"), re.MULTILINE)
    tests = yaml.safe_load((monitoring.FOLDER / "alerts_test.yaml").read_text(encoding="utf-8"))["tests"]

    assert set(headings) == set(monitoring.azure_alerts())
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook"] == f"docs/operate.md#{name.lower()}"
        [test] = [
            one["input_series"]
            for one in tests
            if any(case["alertname"] == name and case["exp_alerts"] for case in one["alert_rule_test"])
        ]
        assert any('scoring_service="healthy"' in series["series"] for series in test)
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_the_charts_copy_of_the_rules_is_the_same() -> None:
    assert (ROOT / "deploy" / "helm" / "alerts.yaml").read_text() == (monitoring.FOLDER / "alerts.yaml").read_text()
