"""Calls of the control plane: discovery, deadlines, retries, and the errors of refused calls.

Only calls that change nothing when they arrive twice are retried, and only after a status that asks for it or a broken
connection. ``Retry-After`` is honoured; one beyond the deadline ends the call at once.
"""

import datetime as dt
import email.utils
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from shared.backoff import backoff
from shared.control_plane.transport import ConnectionBroken, Response, Transport
from shared.control_plane.types import (
    API_VERSION,
    DISCOVERY_API_VERSION,
    Account,
    Json,
    member,
    message_of,
    parse_object,
    parse_page,
)
from shared.errors import (
    ControlPlaneRefused,
    ControlPlaneUnreachable,
    GatewayError,
    InvalidControlPlaneResponse,
    NotDeployed,
    OutcomeUnknown,
)
from shared.quoting import quoted

_MAX_PAGES = 1000

# The statuses after which another attempt may succeed.
RETRIED = frozenset({408, 429, 500, 502, 503, 504})

# Seconds; half of each pause is random.
RETRY_FIRST, RETRY_LAST = 0.5, 20.0
_JITTER = 0.5

# Seconds for Retry-After where the control plane states none.
_RETRY_AFTER = 5.0

# How much of the control plane's message is quoted.
_MESSAGE_LENGTH = 400


@dataclass(frozen=True)
class Timing:
    """The client's clock, in seconds; ``chance`` returns 0 to 1. Tests pass their own."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random

    def deadline(self, seconds: float) -> "Deadline":
        """A deadline that many seconds from now."""
        return Deadline(self.clock, self.clock() + seconds)

    def pause(self, attempt: int, first: float, last: float) -> float:
        """Seconds to wait after attempt number ``attempt``."""
        return backoff(attempt, first, last, jitter=_JITTER, chance=self.chance)


@dataclass(frozen=True)
class Deadline:
    """A moment on a clock by which a call ends."""

    clock: Callable[[], float]
    moment: float

    @property
    def remaining(self) -> float:
        """Seconds until then; negative afterwards."""
        return self.moment - self.clock()


@dataclass(frozen=True)
class ApiCall:
    """One call: ``path`` is below the control plane's host, ``action`` names its purpose for messages.

    ``repeatable``: it may arrive twice. ``removes``: a 404 to a later attempt means that an earlier one, whose response
    was lost, succeeded. ``secrets`` are never repeated in a message.
    """

    method: str
    path: str
    action: str
    document: Json | None = field(default=None, repr=False)
    query: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    removes: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)


class Calls:
    """Makes calls, first of all the one that discovers the control plane. Safe to use from several threads."""

    # _host  the control plane's address; empty before the first call, and after one that could not reach it

    def __init__(self, transport: Transport, account: Account, arm_endpoint: str, timing: Timing) -> None:
        self._transport = transport
        self._account = account
        self._arm = origin(arm_endpoint)
        self._timing = timing
        self._lock = threading.Lock()
        self._host = ""

    def make(self, call: ApiCall, deadline: Deadline) -> Response:
        """Make a call; its response is a success, or 404 to a call that removes.

        Raises:
            GatewayError: the control plane refuses, or cannot be reached.
        """
        query = {"api-version": API_VERSION, **call.query}
        return self._make(call, f"{self._discovered(deadline)}{call.path}?{urlencode(query)}", deadline)

    def pages(self, call: ApiCall, deadline: Deadline) -> Iterator[Json]:
        """The entries of a list, page after page, all from the host of the first page.

        Raises:
            GatewayError: as :meth:`make`; InvalidControlPlaneResponse also for a next page on another host.
        """
        host = self._discovered(deadline)
        url = f"{host}{call.path}?{urlencode({'api-version': API_VERSION, **call.query})}"
        for _ in range(_MAX_PAGES):
            entries, following = parse_page(parse_object(self._make(call, url, deadline).body))
            yield from entries
            if following is None:
                return
            url = _on_host(following, host)
        raise InvalidControlPlaneResponse(f"The control plane's list has more than {_MAX_PAGES} pages.")

    def _discovered(self, deadline: Deadline) -> str:
        with self._lock:
            if not self._host:
                query = urlencode({"api-version": DISCOVERY_API_VERSION})
                call = ApiCall("GET", self._account.discovery_path, "discover the control plane")
                document = parse_object(self._make(call, f"{self._arm}{call.path}?{query}", deadline).body)
                location = member(member(document, "properties", dict), "modelManagementSwaggerLocation", str)
                self._host = _control_plane(location)
            return self._host

    def _make(self, call: ApiCall, url: str, deadline: Deadline) -> Response:
        attempts = 0
        while True:
            attempts += 1
            attempt = self._attempt(call, url, deadline)
            if attempt.response:
                return attempt.response
            if call.removes and attempts > 1 and isinstance(attempt.failure, NotDeployed):
                return Response(404, {}, b"")
            wait = max(attempt.wait, self._timing.pause(attempts, RETRY_FIRST, RETRY_LAST))
            if not attempt.retriable or wait >= deadline.remaining:
                raise attempt.failure
            self._timing.sleep(wait)

    def _attempt(self, call: ApiCall, url: str, deadline: Deadline) -> "_Attempt":
        body = None if call.document is None else json.dumps(call.document).encode()
        try:
            response = self._transport.send(call.method, url, body, deadline)
        except ConnectionBroken as broken:
            self._host = self._host if broken.sent else ""  # the control plane may have moved
            retriable = not broken.permanent and (call.repeatable or not broken.sent)
            return _Attempt(failure=_failure(broken, call), retriable=retriable)
        if 200 <= response.status < 300:
            return _Attempt(response=response)
        return _Attempt(
            failure=refusal(response, call),
            retriable=call.repeatable and response.status in RETRIED,
            wait=wait_of(response),
        )


@dataclass(frozen=True)
class _Attempt:
    """The result of one attempt: a response; or a failure, whether to retry, and after how many seconds at least."""

    response: Response | None = None
    failure: GatewayError = field(default_factory=lambda: ControlPlaneUnreachable(""))
    retriable: bool = False
    wait: float = 0.0


def wait_of(response: Response) -> float:
    """The seconds of a response's ``Retry-After``; zero where it states none."""
    return retry_after(response.headers.get("retry-after", ""), dt.datetime.now(dt.UTC)) or 0.0


def retry_after(value: str, now: dt.datetime) -> float | None:
    """The seconds of a ``Retry-After`` header (RFC 9110, section 10.2.3): a number, or a date.

    None for one that cannot be read; ``now`` has a time zone.
    """
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=dt.UTC)
    return max(0.0, (date - now).total_seconds())


def _failure(broken: ConnectionBroken, call: ApiCall) -> GatewayError:
    if broken.sent and not call.repeatable:
        return _outcome_unknown(call, str(broken))
    return ControlPlaneUnreachable(f"Cannot {call.action}. {broken}", retry_after=_RETRY_AFTER)


def _outcome_unknown(call: ApiCall, why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"It is not known whether the request to {call.action} was carried out. {why}", retry_after=_RETRY_AFTER
    )


def refusal(response: Response, call: ApiCall) -> GatewayError:
    """The error of a response other than a success."""
    status = response.status
    why = f"The control plane responded with {status}{_message(response, call.secrets)}."
    detail = f"Cannot {call.action}. {why}"
    if status == 404:
        return NotDeployed(detail, status)
    # After 429 nothing was done; the others may come from a proxy, after the work.
    if status in RETRIED - {429} and not call.repeatable:
        return _outcome_unknown(call, why)
    if status >= 500 or status in RETRIED:
        return ControlPlaneUnreachable(detail, retry_after=wait_of(response) or _RETRY_AFTER)
    if status >= 400:
        return ControlPlaneRefused(detail, status)
    return InvalidControlPlaneResponse(detail)


def _message(response: Response, secrets: tuple[str, ...]) -> str:
    try:
        message = message_of(parse_object(response.body))
    except InvalidControlPlaneResponse:
        return ""
    text = quoted(message, limit=_MESSAGE_LENGTH, secrets=secrets).rstrip(".")
    return f": {text}" if text else ""


def origin(url: str) -> str:
    """The scheme and host of an https address, with its port where it is not 443.

    Raises:
        ValueError: it is not an https address, or contains a user name.
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
        raise InvalidControlPlaneResponse("The control plane's address is not an https address.") from None


def _on_host(url: str, host: str) -> str:
    """An absolute address, if it is on ``host``: no other host may receive the token.

    It is composed anew, so that no two readings of it can name two hosts.

    Raises:
        InvalidControlPlaneResponse: it is elsewhere.
    """
    try:
        same = origin(url) == host
    except ValueError:
        same = False
    if not same:
        raise InvalidControlPlaneResponse(
            "The control plane's list continues on another host, to which no token is sent."
        )
    parts = urlsplit(url)
    return f"{host}{parts.path}?{parts.query}"


def path_of(location: object, header: str) -> str:
    """A path that a response names, below the host of the response.

    Raises:
        InvalidControlPlaneResponse: it is not such a path.
    """
    if (
        not isinstance(location, str)
        or not location.startswith("/")
        or location.startswith(("//", "/\\"))
        or any(character in location for character in "?#\\ ")
        or not location.isprintable()
    ):
        raise InvalidControlPlaneResponse(f"The control plane's {header} is not a path on its host.")
    return location
