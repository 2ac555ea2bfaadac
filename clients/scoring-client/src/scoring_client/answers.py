"""What the gateway's answers mean: decisions without I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from scoring_client.results import UNREACHABLE, USAGE, Json, Problem, Stop

_UNKNOWN_SERVICE = "urn:problem-type:scoring-gateway:unknown-service"
_KEPT = ("service", "model", "request_id")


@dataclass(frozen=True)
class Refused:
    """An answer without labels. ``later``: the same request may succeed, in ``retry_after`` seconds if it says so."""

    problem: Problem
    later: bool = False
    retry_after: float | None = None


def read(status: int, headers: Mapping[str, str], body: bytes, *, with_key: bool) -> Json | Refused:
    """What an answer says of the one image that was sent: its labels, or why there are none.

    Args:
        status: HTTP's.
        headers: the answer's; names in any case, as the mapping has it.
        body: the answer's.
        with_key: whether a key was sent.

    Raises:
        Stop: no other image would fare better: the key, the address or the service's name is wrong.
    """
    document = _object(body)
    if status == 200:
        return _labels(document) or _stranger("The answer holds no labels.", status)
    if status in {401, 403}:
        raise Stop(_about_key(with_key=with_key), UNREACHABLE)
    if status == 404:
        raise _not_found(document)
    if 300 <= status < 400:
        return _stranger(f"The answer is a redirection to {headers.get('location', 'nowhere')!r}.", status)
    later = status in {429, 503}
    return Refused(_problem(document, status), later, seconds(headers.get("retry-after", "")) if later else None)


def seconds(retry_after: str, now: datetime | None = None) -> float | None:
    """The seconds that a Retry-After header names (RFC 9110, section 10.2.3): a number, or a date; None for neither."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    # A date without a zone is in UTC, as HTTP's are.
    date = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
    return max((date - (now or datetime.now(timezone.utc))).total_seconds(), 0.0)


def _object(body: bytes) -> Json:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _labels(document: Json) -> Json | None:
    """The members of interest, in the order in which they are written; None where the labels are not as they should."""
    predictions = document.get("predictions")
    if not isinstance(predictions, list) or len(predictions) != 1 or not isinstance(predictions[0], dict):
        return None
    labels, scores = predictions[0].get("labels"), predictions[0].get("scores")
    if not isinstance(labels, list) or not all(map(_is_label, labels)):
        return None
    answer = {name: document[name] for name in _KEPT if isinstance(document.get(name), str)}
    return {**answer, "labels": labels, **({} if scores is None else {"scores": scores})}


def _is_label(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    score = entry.get("score")
    return isinstance(entry.get("label"), str) and isinstance(score, (int, float)) and not isinstance(score, bool)


def _problem(document: Json, status: int) -> Problem:
    """The problem as its document tells it; where there is none, all that is known is the status."""
    told = {
        name: str(document[name])
        for name in ("type", "title", "detail", "remedy", "request_id")
        if isinstance(document.get(name), str)
    }
    if "title" not in told:
        return Problem(f"The gateway answered with status {status}", status=status)
    return Problem(**told, status=status)


def _stranger(detail: str, status: int) -> Refused:
    remedy = "Check that the URL is that of a scoring gateway."
    return Refused(Problem("The answer is not a scoring gateway's", detail, remedy, status=status))


def _about_key(*, with_key: bool) -> str:
    if with_key:
        return "the gateway refuses the key: set SCORING_KEY to a function key of the gateway's"
    return "the gateway asks for a key: set SCORING_KEY to a function key of the gateway's"


def _not_found(document: Json) -> Stop:
    if document.get("type") == _UNKNOWN_SERVICE:
        return Stop(f"{_problem(document, 404).sentence} Name another by --service.", USAGE)
    return Stop("no scoring gateway answers at the URL (404): check --url or SCORING_URL", UNREACHABLE)
