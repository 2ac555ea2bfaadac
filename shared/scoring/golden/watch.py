"""Checks a service's golden photographs in the background: at its first use, and when its model's version changes.

The result is for the service's health and for what shares traffic out. It never decides about a certificate.
"""

import asyncio
import copy
import time
from dataclasses import dataclass, replace

from shared.backoff import backoff
from shared.errors import GatewayError, InternalError
from shared.scoring.golden.check import Checker, Report
from shared.settings import ServiceSettings
from shared.telemetry import RequestContext, fault_path, log

# Seconds of one check; of the pauses after failed ones, the first and the longest; and between two of a version each.
CHECK_SECONDS, FIRST_PAUSE, LONGEST_PAUSE, BETWEEN_SECONDS = 600.0, 1.0, 300.0, 5.0

_NONE = object()


@dataclass(frozen=True)
class GoldenStatus:
    """The last check: how many photographs match, of how many; and why there is none, where there is a problem.

    ``pending``: the model's version of the last answer was not checked yet. ``blocks``: the service must not count as
    ready.
    """

    matched: int = 0
    photographs: int = 0
    version: int | str | None = None
    first_deviation: str = ""
    problem: GatewayError | None = None
    pending: bool = True
    blocks: bool = False

    @property
    def holds_back(self) -> bool:
        """Whether the service must not get more requests yet."""
        return self.blocks or self.pending

    def __str__(self) -> str:
        if self.photographs:
            return f"{self.matched} of {self.photographs}"
        return "checking" if self.problem is None else "not checked"


class Golden:
    """The background check of one service; belongs to one event loop. ``checker`` checks at once, for people."""

    # _seen      the model's version in the last answer; _NONE before the first
    # _result    the last complete check
    # _problem   why the check in progress failed last
    # _task      the check in progress; the last one's after its end
    # _again_at  when the next check may start

    def __init__(self, service: ServiceSettings, checker: Checker) -> None:
        self._service = service
        self.checker = checker
        self._seen: object = _NONE
        self._result = GoldenStatus()
        self._problem: GatewayError | None = None
        self._task: asyncio.Task[None] | None = None
        self._again_at = 0.0

    def answered(self, version: int | str | None) -> None:
        """Note the model's version in an answer; the first one, and another one, starts a check."""
        if version == self._seen:
            return
        self._seen = version
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def request(self) -> None:
        """Start the check, where there was none yet."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    @property
    def blocks(self) -> bool:
        """Whether the service must not count as ready."""
        return self._service.golden_enforce and not self._matches

    @property
    def status(self) -> GoldenStatus:
        """The last complete check, also while one of another version is in progress."""
        checked = self._result.photographs > 0 and (
            # Where no photograph can be scored, the version is not known.
            self._result.version is None or self._seen in {_NONE, self._result.version}
        )
        return replace(
            self._result, problem=self._problem, pending=not checked and self._problem is None, blocks=self.blocks
        )

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    @property
    def _matches(self) -> bool:
        return 0 < self._result.photographs == self._result.matched

    async def _run(self) -> None:
        failed, ended = 0, False
        while not ended:
            await asyncio.sleep(max(self._again_at - time.monotonic(), 0))
            seen = self._seen
            try:
                report = await self.checker.check(RequestContext("golden", time.monotonic() + CHECK_SECONDS))
            except GatewayError as error:
                failed += 1
                self._failed(error)
                self._again_at = time.monotonic() + backoff(failed, FIRST_PAUSE, LONGEST_PAUSE, jitter=0.5)
            except Exception as fault:  # requests go on, and the service's health shows it
                log.error("golden photographs of %s: internal-error %s", self._service.name, fault_path(fault))
                self._problem = InternalError("The golden photographs could not be checked: an unexpected fault.")
                return
            else:
                failed = 0
                self._completed(report)
                # Where replicas have different versions, checks would follow each other without a pause.
                self._again_at = time.monotonic() + BETWEEN_SECONDS
                ended = self._seen in {seen, report.version}

    def _failed(self, error: GatewayError) -> None:
        if self._problem is None or self._problem.detail != error.detail:
            log.warning("service %s: golden photographs: %s %s", self._service.name, error.slug, error.detail)
        # A copy, without the traceback and what it holds.
        self._problem = copy.copy(error)

    def _completed(self, report: Report) -> None:
        total, deviates = len(report.outcomes), report.first_deviation
        self._problem = None
        self._result = GoldenStatus(report.matched, total, report.version, deviates)
        text = "service %s: golden: %s match (model version %s)%s"
        if deviates:
            hint = f"; {deviates}. `scoring-client golden check` tries the likely causes"
            log.warning(text, self._service.name, report, report.version, hint)
        else:
            log.info(text, self._service.name, report, report.version, "")
