"""schemathesis as a process that tries a running gateway, and what it reports."""

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

# A stuck run ends; a slow machine does not end one. In seconds.
PATIENCE = 900


@dataclass(frozen=True)
class Trial:
    """A finished run: how it ended, what it printed, and its reports (one as a whole, one event a line)."""

    code: int
    printed: str
    report: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]

    @cached_property
    def checks(self) -> Mapping[str, int]:
        """How many answers passed each check."""
        passed = collections.Counter[str]()
        for scenario in self._scenarios():
            for made in scenario["recorder"].get("checks", {}).values():
                passed.update(one["name"] for one in made if one["status"] == "success")
        return passed

    @cached_property
    def accepted(self) -> Mapping[str, int]:
        """How many requests that keep to the document were answered by 200, by operation."""
        found = collections.Counter[str]()
        for scenario in self._scenarios():
            recorder = scenario["recorder"]
            for name, case in recorder.get("cases", {}).items():
                answer = recorder.get("interactions", {}).get(name, {}).get("response") or {}
                mode = (case["value"].get("meta") or {}).get("generation", {}).get("mode")
                found[recorder["label"]] += mode == "positive" and answer.get("status_code") == 200
        return found

    def summary(self) -> str:
        """The run in a few lines."""
        report, cases = self.report, self.report["test_cases"]
        operations, phases = report["operations"], report["phases"]
        return "\n".join(
            (
                f"schemathesis {report['schemathesis_version']}, seed {report['seed']}:",
                _counts(operations, cases, report["filtered"]),
                "phases: " + ", ".join(f"{name} {one['status']}" for name, one in phases.items()),
                "checks passed: " + ", ".join(f"{name} {count}" for name, count in sorted(self.checks.items())),
            )
        )

    def _scenarios(self) -> Iterator[Mapping[str, Any]]:
        return (event["ScenarioFinished"] for event in self.events if "ScenarioFinished" in event)


def _counts(operations: Mapping[str, Any], cases: Mapping[str, Any], excused: int) -> str:
    told = {
        f"of {operations['total']} operations": operations["tested"],
        "requests": cases["generated"],
        "failures": cases["unique_failures"],
        "errors": cases["errored"],
        "excused": excused,
    }
    return ", ".join(f"{count} {what}" for what, count in told.items())


def run(address: str, folder: Path, keys: Mapping[str, str]) -> Trial:
    """Try every operation of the document that a gateway serves; ``keys`` are the host's, by their names there."""
    whole, lines, document = folder / "report.json", folder / "events.ndjson", folder / "openapi.json"
    # By its address, schemathesis would leave out the operation that the document itself comes from.
    document.write_bytes(
        httpx.get(f"{address}/api/openapi.json", timeout=PATIENCE, trust_env=False).raise_for_status().content
    )
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
        *("run", str(document), "--url", address, "--no-color", "--report", "json,ndjson"),
        *("--report-json-path", str(whole), "--report-ndjson-path", str(lines)),
    ]
    own = {
        "MASTER_KEY": keys["master"],
        "FUNCTION_KEY": keys["default"],
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "localhost",
    }
    ended = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    if not (whole.exists() and lines.exists()):
        raise AssertionError(ended.stdout)
    events = tuple(json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines())
    return Trial(ended.returncode, ended.stdout, json.loads(whole.read_text(encoding="utf-8")), events)
