"""Runs schemathesis as a process with a running gateway, and reads its reports."""

import collections
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import ROOT

CONFIG = Path(__file__).with_name("schemathesis.toml")

# In seconds: it ends a run that hangs, but not one on a slow machine.
TIMEOUT = 900


@dataclass(frozen=True)
class Run:
    """A finished run: its exit code, output, summarizing report, and events."""

    code: int
    output: str
    report: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]

    @cached_property
    def passed_checks(self) -> Mapping[str, int]:
        """The number of responses that passed each check."""
        passed = collections.Counter[str]()
        for scenario in self._scenarios():
            for checks in scenario["recorder"].get("checks", {}).values():
                passed.update(one["name"] for one in checks if one["status"] == "success")
        return passed

    @cached_property
    def successes(self) -> Mapping[str, int]:
        """The number of valid requests with response 200, by operation."""
        found = collections.Counter[str]()
        for scenario in self._scenarios():
            recorder = scenario["recorder"]
            for name, case in recorder.get("cases", {}).items():
                response = recorder.get("interactions", {}).get(name, {}).get("response") or {}
                mode = (case["value"].get("meta") or {}).get("generation", {}).get("mode")
                found[recorder["label"]] += mode == "positive" and response.get("status_code") == 200
        return found

    def summary(self) -> str:
        """A summary of the run in a few lines."""
        report, cases, operations = self.report, self.report["test_cases"], self.report["operations"]
        phases = ", ".join(f"{name} {one['status']}" for name, one in report["phases"].items())
        checks = ", ".join(f"{name} {count}" for name, count in sorted(self.passed_checks.items()))
        return (
            f"schemathesis {report['schemathesis_version']}, seed {report['seed']}:\n"
            f"{operations['tested']} of {operations['total']} operations, {cases['generated']} requests, "
            f"{cases['unique_failures']} failures, {cases['errored']} errors, {report['filtered']} accepted failures\n"
            f"phases: {phases}\n"
            f"checks passed: {checks}"
        )

    def _scenarios(self) -> Iterator[Mapping[str, Any]]:
        return (event["ScenarioFinished"] for event in self.events if "ScenarioFinished" in event)


def run(address: str, folder: Path, keys: Mapping[str, str]) -> Run:
    """Test every operation of a gateway's document; ``keys`` are those of host-keys.json by name, and ``metrics``."""
    report, events, document = folder / "report.json", folder / "events.ndjson", folder / "openapi.json"
    # With the document's URL, schemathesis would omit the operation that returns the document.
    document.write_bytes(
        httpx.get(f"{address}/api/openapi.json", timeout=TIMEOUT, trust_env=False).raise_for_status().content
    )
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
        *("run", str(document), "--url", address, "--no-color", "--report", "json,ndjson"),
        *("--report-json-path", str(report), "--report-ndjson-path", str(events)),
    ]
    variables = {
        "MASTER_KEY": keys["master"],
        "FUNCTION_KEY": keys["default"],
        "METRICS_KEY": keys["metrics"],
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "localhost",
    }
    ended = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=False,
    )
    if not (report.exists() and events.exists()):
        raise AssertionError(ended.stdout)
    lines = events.read_text(encoding="utf-8").splitlines()
    return Run(
        ended.returncode,
        ended.stdout,
        json.loads(report.read_text(encoding="utf-8")),
        tuple(json.loads(line) for line in lines),
    )
