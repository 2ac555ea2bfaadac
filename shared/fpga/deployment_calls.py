"""Calls of the control plane: where it is, retries within a deadline, and what its refusals mean.

Tried again is only what changes nothing by arriving twice, and only for a status that says "not now" or for a broken
connection. ``Retry-After`` is honoured; one that lies beyond the deadline ends the call at once.
"""

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from shared.fpga import deployment_errors as errors
from shared.fpga.deployment_errors import ControlPlaneUnavailable, DeploymentError, InvalidAnswer, plain
from shared.fpga.deployment_exchange import Answer, Broken, Exchange
from shared.fpga.deployment_timing import RETRIED, RETRY_FIRST, RETRY_LAST, Deadline, Timing, pause, retry_after
from shared.fpga.deployment_types import (
    API_VERSION,
    DISCOVERY_API_VERSION,
    Account,
    Json,
    member,
    message_of,
    parse_object,
    parse_page,
)

_MAX_PAGES = 1000


@dataclass(frozen=True)
class Call:
    """One call: ``path`` is below the control plane's host, ``what`` names the aim for messages.

    ``repeatable`` says that it may arrive twice; ``removes``, that a 404 to a later try is the success of an earlier
    one, whose answer was lost. ``secrets`` are never repeated in a message.
    """

    method: str
    path: str
    what: str
    document: Json | None = field(default=None, repr=False)
    query: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    removes: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Reply:
    """A call's answer: a success, or 404 to a call that removes."""

    answer: Answer

    @property
    def document(self) -> Json:
        return parse_object(self.answer.body)

    @property
    def wait(self) -> float:
        """Seconds until the control plane wants to be asked again; zero where it does not say."""
        return _wait_of(self.answer) or 0.0


class Calls:
    """Makes calls, first of all the one that discovers the control plane. Safe to use from several threads."""

    def __init__(self, exchange: Exchange, account: Account, arm_endpoint: str, timing: Timing) -> None:
        self._exchange = exchange
        self._account = account
        self._arm = origin(arm_endpoint)
        self._timing = timing
        self._lock = threading.Lock()
        # What discovery found; empty until the first call, and after one that could not reach it.
        self._host = ""

    def make(self, call: Call, deadline: Deadline) -> Reply:
        """Make a call of the control plane.

        Raises:
            DeploymentError: one of the tree, for every other answer than a success.
        """
        query = {"api-version": API_VERSION, **call.query}
        return self._make(call, f"{self._discovered(deadline)}{call.path}?{urlencode(query)}", deadline)

    def pages(self, call: Call, deadline: Deadline) -> Iterator[Json]:
        """The entries of a list, page after page, from the very host that was asked first.

        Raises:
            DeploymentError: as :meth:`make`; InvalidAnswer also for a next page on another host.
        """
        host = self._discovered(deadline)
        url = f"{host}{call.path}?{urlencode({'api-version': API_VERSION, **call.query})}"
        for _ in range(_MAX_PAGES):
            entries, following = parse_page(self._make(call, url, deadline).document)
            yield from entries
            if following is None:
                return
            url = _on_host(following, host)
        raise InvalidAnswer(f"the control plane's list has more than {_MAX_PAGES} pages")

    def _discovered(self, deadline: Deadline) -> str:
        with self._lock:
            if not self._host:
                query = urlencode({"api-version": DISCOVERY_API_VERSION})
                call = Call("GET", self._account.discovery_path, "discover the control plane")
                document = self._make(call, f"{self._arm}{call.path}?{query}", deadline).document
                location = member(member(document, "properties", dict), "modelManagementSwaggerLocation", str)
                self._host = _control_plane(location)
            return self._host

    def _make(self, call: Call, url: str, deadline: Deadline) -> Reply:
        tries = 0
        while True:
            tries += 1
            attempt = self._attempt(call, url, deadline)
            if attempt.answer:
                return Reply(attempt.answer)
            if call.removes and tries > 1 and isinstance(attempt.failure, errors.NotFound):
                return Reply(Answer(404, {}, b""))
            wait = max(attempt.wait, pause(tries, RETRY_FIRST, RETRY_LAST, self._timing.chance))
            if not attempt.again or wait >= deadline.remaining:
                raise attempt.failure
            self._timing.sleep(wait)

    def _attempt(self, call: Call, url: str, deadline: Deadline) -> "_Attempt":
        body = None if call.document is None else json.dumps(call.document).encode()
        try:
            answer = self._exchange.send(call.method, url, body, deadline)
        except Broken as broken:
            self._host = self._host if broken.sent else ""  # it may have moved
            return _Attempt(failure=_failure_of(broken, call), again=_worth_another(broken, call))
        if 200 <= answer.status < 300:
            return _Attempt(answer=answer)
        wait = _wait_of(answer)
        return _Attempt(
            failure=refusal(answer, call, wait),
            again=call.repeatable and answer.status in RETRIED,
            wait=wait or 0.0,
        )


@dataclass(frozen=True)
class _Attempt:
    """What became of one try: an answer; or a failure, whether another try makes sense, and after how many seconds."""

    answer: Answer | None = None
    failure: DeploymentError = field(default_factory=DeploymentError)
    again: bool = False
    wait: float = 0.0


def _wait_of(answer: Answer) -> float | None:
    return retry_after(answer.headers.get("retry-after", ""), dt.datetime.now(dt.UTC))


def _worth_another(broken: Broken, call: Call) -> bool:
    return not broken.lasting and (call.repeatable or not broken.sent)


def _failure_of(broken: Broken, call: Call) -> DeploymentError:
    if broken.sent and not call.repeatable:
        return errors.OutcomeUnknown(f"cannot tell whether the request to {call.what} was carried out: {broken}")
    return ControlPlaneUnavailable(f"cannot {call.what}: {broken}")


def refusal(answer: Answer, call: Call, wait: float | None) -> DeploymentError:
    """What an answer other than a success means."""
    message = f"cannot {call.what}: the control plane answered {answer.status}{_said(answer, call.secrets)}"
    kinds: Mapping[int, Callable[[str], DeploymentError]] = {
        401: errors.Unauthorized,
        403: errors.Forbidden,
        404: errors.NotFound,
    }
    if answer.status in kinds:
        return kinds[answer.status](message)
    # 429 says that nothing was done; the others may come from a server in between, after the work.
    if answer.status in RETRIED - {429} and not call.repeatable:
        return errors.OutcomeUnknown(message)
    if answer.status >= 500 or answer.status in RETRIED:
        return ControlPlaneUnavailable(message, wait)
    if answer.status >= 400:
        return errors.Rejected(message, answer.status)
    return InvalidAnswer(message)


def _said(answer: Answer, secrets: tuple[str, ...]) -> str:
    try:
        said = plain(message_of(parse_object(answer.body)), secrets)
    except InvalidAnswer:
        return ""
    return f": {said}" if said else ""


def origin(url: str) -> str:
    """The scheme and host of an https address, with its port where that is not the usual one.

    Raises:
        ValueError: it is no https address, or it holds a user's name.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
        raise ValueError("an https address is needed")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"https://{host}" if parts.port in (None, 443) else f"https://{host}:{parts.port}"


def _control_plane(location: str) -> str:
    try:
        return origin(location)
    except ValueError:
        raise InvalidAnswer("Azure Resource Manager names a control plane that is at no https address") from None


def _on_host(url: str, host: str) -> str:
    """An absolute address, if it is one on ``host``: the token is for nobody else.

    It is put together anew, so that no two readings of it can name two hosts.

    Raises:
        InvalidAnswer: it is elsewhere.
    """
    try:
        same = origin(url) == host
    except ValueError:
        same = False
    if not same:
        raise InvalidAnswer("the control plane's list goes on at another host, which gets no token")
    parts = urlsplit(url)
    return f"{host}{parts.path}?{parts.query}"


def path_of(location: Any, header: str) -> str:
    """A path that an answer names, below the host that gave it.

    Raises:
        InvalidAnswer: it is no such path.
    """
    valid = isinstance(location, str) and location.startswith("/") and not location.startswith(("//", "/\\"))
    if not valid or any(sign in location for sign in "?#\\") or not location.isprintable() or " " in location:
        raise InvalidAnswer(f"the control plane's {header} is no path on its own host")
    return str(location)
