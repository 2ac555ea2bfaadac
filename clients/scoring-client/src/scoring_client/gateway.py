"""The gateway over HTTP: one image per request, sent again if the gateway asks for that."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import quote

import httpx

from scoring_client import __version__, responses
from scoring_client.results import UNREACHABLE, Json, Problem, Stop
from scoring_client.retries import Retries

# In seconds: the gateway's own deadline passes first, so that its explanation of the delay arrives.
_MARGIN = 5.0
_CONNECT_SECONDS = 10.0

# A proxy cannot reach this machine.
_WITHOUT_PROXY = ("all://localhost", "all://127.0.0.1", "all://[::1]")

_LOST = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError, httpx.CloseError)


@dataclass(frozen=True)
class Target:
    """Where and how images are scored.

    A service that spreads its requests over others sends all with one ``traffic_key`` to the same one. ``timeout`` and
    ``max_wait`` (all pauses of one image) are in seconds.
    """

    url: str
    key: str = ""
    service: str = ""
    traffic_key: str = ""
    top: int | None = None
    threshold: float | None = None
    timeout: float = 30.0
    max_wait: float = 60.0
    concurrency: int = 4

    def __repr__(self) -> str:
        return f"<Target {self.url} {self.service}>"


class NotScored(Exception):
    """One image was not scored; ``problem`` is the reason."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


class Gateway:
    """A client of the gateway, for one event loop; used as an async context manager."""

    # _reached  whether the gateway ever responded: until then a failed connection means a wrong address

    def __init__(self, target: Target, retries: Callable[[float], Retries] = Retries) -> None:
        self._target = target
        self._retries = retries
        self._reached = False
        limits = httpx.Limits(max_connections=target.concurrency, max_keepalive_connections=target.concurrency)
        timeout = httpx.Timeout(target.timeout + _MARGIN, connect=_CONNECT_SECONDS)
        self._client = httpx.AsyncClient(
            limits=limits, timeout=timeout, headers=_headers(target), mounts=dict.fromkeys(_WITHOUT_PROXY)
        )

    async def score(self, image: bytes) -> Json:
        """The gateway's answer for one image; its member ``labels`` is a list.

        Raises:
            NotScored: this image could not be scored.
            Stop: no other could be either.
        """
        return await self._answer(_address(self._target), image, responses.labels)

    async def check_golden(self) -> Json:
        """The gateway's report of the service's golden photographs.

        Raises:
            NotScored: they could not be checked.
            Stop: the gateway cannot be reached, or refuses the key.
        """
        service = self._target.service
        query = f"?{httpx.QueryParams({'service': service})}" if service else ""
        return await self._answer(f"{self._target.url}/api/golden{query}", b"", responses.golden)

    async def _answer(self, address: str, body: bytes, parse: responses.Parse) -> Json:
        retries = self._retries(self._target.max_wait)
        while True:
            outcome = await self._attempt(address, body, parse, retries)
            if not isinstance(outcome, float):
                return outcome
            await asyncio.sleep(outcome)

    async def _attempt(self, address: str, body: bytes, parse: responses.Parse, retries: Retries) -> Json | float:
        """The answer, or the seconds until the next attempt."""
        try:
            response = await asyncio.wait_for(self._post(address, body), self._target.timeout + _MARGIN)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return self._pause_before_reconnecting(retries, error)
        except _LOST:
            return _pause_or_fail(retries.pause_after_lost_connection(), _LOST_CONNECTION)
        except (httpx.TimeoutException, asyncio.TimeoutError):
            raise NotScored(self._late()) from None
        except httpx.HTTPError as error:
            raise NotScored(Problem("The request failed", f"{type(error).__name__}.")) from None
        self._reached = True
        with_key = bool(self._target.key)
        answer = responses.read(response.status_code, response.headers, response.content, parse, with_key=with_key)
        if isinstance(answer, responses.Refused):
            return _pause_or_fail(retries.pause(answer.retry_after) if answer.retry else None, answer.problem)
        return answer

    async def __aenter__(self) -> "Gateway":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def _post(self, address: str, body: bytes) -> httpx.Response:
        # The gateway detects the image format. Bytes, not a stream, so that a Content-Length is sent.
        return await self._client.post(address, content=body, headers={"Content-Type": "application/octet-stream"})

    def _pause_before_reconnecting(self, retries: Retries, error: httpx.TransportError) -> float:
        """Seconds until the next attempt: a gateway that responded before may be restarting.

        Raises:
            Stop: it never responded, or cannot be reached for too long.
        """
        pause = retries.pause(None) if self._reached else None
        if pause is None:
            raise Stop(_unreachable(self._target.url, error), UNREACHABLE) from error
        return pause

    def _late(self) -> Problem:
        detail = f"No answer came within {self._target.timeout:g} seconds."
        return Problem("The gateway did not answer in time", detail, "Raise --timeout, or lower --concurrency.")


_LOST_CONNECTION = Problem("The connection to the gateway was lost", "It was lost at every attempt to send the image.")


def _pause_or_fail(pause: float | None, problem: Problem) -> float:
    """The seconds until the next attempt.

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
    optional = {"x-functions-key": target.key, "Traffic-Key": target.traffic_key}
    return {**headers, **{name: value for name, value in optional.items() if value}}


def _unreachable(url: str, error: httpx.TransportError) -> str:
    message = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in message:
        return f"the certificate of {url} is not trusted: set SSL_CERT_FILE to its authority's file, or correct --url"
    if "WRONG_VERSION_NUMBER" in message or "record layer failure" in message:
        return f"{url} does not use TLS: use http://, or correct the port"
    return f"no gateway answers at {url}: check --url or SCORING_URL, and that the gateway is running"
