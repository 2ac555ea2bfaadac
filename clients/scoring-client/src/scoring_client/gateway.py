"""The gateway over HTTP: one image a request, sent again where the gateway says that this helps."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import quote

import httpx

from scoring_client import __version__, answers
from scoring_client.results import UNREACHABLE, Json, Problem, Stop
from scoring_client.waiting import Waiting

# The gateway's own deadline passes first, so that its account of the delay arrives; in seconds.
_MARGIN = 5.0
_CONNECT_SECONDS = 10.0

# A proxy has no way to what runs on this machine.
_DIRECT = ("all://localhost", "all://127.0.0.1", "all://[::1]")

_BROKEN = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError, httpx.CloseError)


@dataclass(frozen=True)
class Target:
    """Where and how images are scored. ``timeout`` and ``max_wait`` (for all pauses of one image) are in seconds."""

    url: str
    key: str = ""
    service: str = ""
    top: int | None = None
    threshold: float | None = None
    timeout: float = 30.0
    max_wait: float = 60.0
    concurrency: int = 4

    def __repr__(self) -> str:
        return f"<Target {self.url} {self.service}>"


class NotScored(Exception):
    """One image was not scored; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


class Gateway:
    """A client of the gateway, for one event loop; close it by leaving its ``async with``."""

    # _reached  whether the gateway ever answered: until then a failed connection is a wrong address

    def __init__(self, target: Target, waiting: Callable[[float], Waiting] = Waiting) -> None:
        self._target = target
        self._waiting = waiting
        self._reached = False
        self._address = _address(target)
        limits = httpx.Limits(max_connections=target.concurrency, max_keepalive_connections=target.concurrency)
        timeout = httpx.Timeout(target.timeout + _MARGIN, connect=_CONNECT_SECONDS)
        self._client = httpx.AsyncClient(
            limits=limits, timeout=timeout, headers=_headers(target), mounts=dict.fromkeys(_DIRECT)
        )

    async def score(self, image: bytes) -> Json:
        """The gateway's answer for one image; its member ``labels`` is a list.

        Raises:
            NotScored: this image could not be scored.
            Stop: no other could be either.
        """
        waiting = self._waiting(self._target.max_wait)
        while True:
            outcome = await self._attempt(image, waiting)
            if not isinstance(outcome, float):
                return outcome
            await asyncio.sleep(outcome)

    async def _attempt(self, image: bytes, waiting: Waiting) -> Json | float:
        """The answer, or the seconds until the next try."""
        try:
            response = await asyncio.wait_for(self._post(image), self._target.timeout + _MARGIN)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return self._pause_before_reconnecting(waiting, error)
        except _BROKEN:
            return _or_not(waiting.pause_after_break(), _BREAKS)
        except (httpx.TimeoutException, asyncio.TimeoutError):
            raise NotScored(self._late()) from None
        except httpx.HTTPError as error:
            raise NotScored(Problem("The request failed", f"{type(error).__name__}.")) from None
        self._reached = True
        answer = answers.read(response.status_code, response.headers, response.content, with_key=bool(self._target.key))
        if isinstance(answer, answers.Refused):
            return _or_not(waiting.pause(answer.retry_after) if answer.later else None, answer.problem)
        return answer

    async def __aenter__(self) -> "Gateway":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def _post(self, image: bytes) -> httpx.Response:
        # What the bytes are is for the gateway to find out; bytes, not a stream, so that their length is sent.
        return await self._client.post(
            self._address, content=image, headers={"Content-Type": "application/octet-stream"}
        )

    def _pause_before_reconnecting(self, waiting: Waiting, error: httpx.TransportError) -> float:
        """Seconds, where a gateway that answered before may only be restarting.

        Raises:
            Stop: it never answered, or stays away.
        """
        pause = waiting.pause(None) if self._reached else None
        if pause is None:
            raise Stop(_unreachable(self._target.url, error), UNREACHABLE) from error
        return pause

    def _late(self) -> Problem:
        detail = f"No answer came within {self._target.timeout:g} seconds."
        return Problem("The gateway did not answer in time", detail, "Allow more by --timeout, or lower --concurrency.")


_BREAKS = Problem("The connection to the gateway broke", "It broke each time that the image was sent.")


def _or_not(pause: float | None, problem: Problem) -> float:
    """The seconds until another try, where there is to be one.

    Raises:
        NotScored: there is none.
    """
    if pause is None:
        raise NotScored(problem)
    return pause


def _address(target: Target) -> str:
    path = f"/api/services/{quote(target.service, safe='')}/score" if target.service else "/api/score"
    options = {"top": target.top, "threshold": target.threshold}
    query = httpx.QueryParams({name: value for name, value in options.items() if value is not None})
    return f"{target.url}{path}?{query}" if query else f"{target.url}{path}"


def _headers(target: Target) -> dict[str, str]:
    headers = {
        "Accept": "application/json, application/problem+json",
        "User-Agent": f"scoring-client/{__version__}",
        "Request-Timeout-Ms": str(max(1, int(target.timeout * 1000))),
    }
    return {**headers, "x-functions-key": target.key} if target.key else headers


def _unreachable(url: str, error: httpx.TransportError) -> str:
    words = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return f"the certificate of {url} is not trusted: name its authority's file in SSL_CERT_FILE, or correct --url"
    if "WRONG_VERSION_NUMBER" in words or "record layer failure" in words:
        return f"{url} does not speak TLS: use http://, or correct the port"
    return f"no gateway answers at {url}: check --url or SCORING_URL, and that the gateway runs"
