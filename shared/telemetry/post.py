"""Exports over HTTP; imported by the exporting thread alone."""

import gzip
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import urllib3

from shared.telemetry.receiver import LOST, REFUSED, SENT, Outcome
from shared.telemetry.target import Target

# It logs each connection that cannot be made.
logging.getLogger("urllib3").setLevel(logging.ERROR)

# Bytes of a response that are read: all of it, so that the connection can be used again.
_RESPONSE = 65_536

# Besides 5xx, what a later export may be spared: no token, no permission yet, a timeout, too many requests.
_PASSING = frozenset({401, 403, 408, 429})


@dataclass(frozen=True)
class Reply:
    """A response; without one, ``status`` is 0 and ``result`` says whether the request may have arrived."""

    status: int
    body: bytes = b""
    pause: float = 0.0
    result: str = ""
    why: str = ""

    @property
    def outcome(self) -> Outcome:
        """What became of the export."""
        if not self.status:
            return Outcome(self.result, self.why)
        if 200 <= self.status < 300:
            return Outcome(SENT)
        return Outcome(REFUSED if can_pass(self.status) else LOST, f"status {self.status}", self.pause)


def can_pass(status: int) -> bool:
    """Whether the same export may be accepted later."""
    return status in _PASSING or status >= 500


class Http:
    """One connection to a target, made when it is needed."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._pool = urllib3.PoolManager(
            maxsize=1,
            ca_certs=target.ca_file or None,
            cert_file=target.client_certificate or None,
            key_file=target.client_key or None,
        )

    def post(self, body: bytes, headers: Mapping[str, str], seconds: float) -> Reply:
        """Send a body; neither redirects nor repetitions."""
        headers = {**headers, **self._target.headers}
        if self._target.compressed:
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        try:
            response = self._pool.request(
                "POST",
                self._target.url,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(total=min(seconds, self._target.seconds)),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            content = response.read(_RESPONSE)
            response.close()
        except urllib3.exceptions.HTTPError as error:
            unsent = urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError
            return Reply(0, result=REFUSED if isinstance(error, unsent) else LOST, why=type(error).__name__)
        return Reply(response.status, content, retry_after(response.headers.get("Retry-After", "")))

    def close(self) -> None:
        self._pool.clear()


def retry_after(value: str) -> float:
    """The seconds that a Retry-After header asks for; 0 of what is none."""
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return 0.0
