"""The meaning of the gateway's responses: decisions without I/O."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from scoring_client.results import UNREACHABLE, USAGE, Json, Placement, Problem, Stop

_UNKNOWN_SERVICE = "urn:problem-type:scoring-gateway:unknown-service"
_NO_PHOTOGRAPHS = "urn:problem-type:scoring-gateway:no-golden-photographs"
_KEPT = ("service", "model", "request_id")
_PROBLEM = ("type", "title", "detail", "remedy", "request_id")


@dataclass(frozen=True)
class Refused:
    """A response without labels. ``retry``: the request may be repeated, after ``retry_after`` seconds if given."""

    problem: Problem
    retry: bool = False
    retry_after: float | None = None


# The content of an answer; None if it is not as specified.
Parse = Callable[[Json], "Json | None"]


def read(status: int, headers: Mapping[str, str], body: bytes, parse: Parse, *, with_key: bool) -> Json | Refused:
    """What an answer holds, or why it does not.

    Args:
        status: the HTTP status.
        headers: the response's headers; the mapping decides about upper and lower case.
        body: the response's body.
        parse: :func:`labels` or :func:`golden`.
        with_key: whether a key was sent.

    Raises:
        Stop: no other image could be scored either: the key, the address or the service's name is wrong.
    """
    document = _object(body)
    if status == 200:
        return parse(document) or _not_a_gateway(f"The response holds no {_HELD[parse]}.", status)
    if status in {401, 403}:
        action = "refuses the" if with_key else "requires a"
        raise Stop(f"the gateway {action} key: set SCORING_KEY to one of its function keys", UNREACHABLE)
    if status == 404:
        raise _not_found(document)
    if 300 <= status < 400:
        return _not_a_gateway(f"The response is a redirection to {headers.get('location', 'nowhere')!r}.", status)
    retry = status in {429, 503}
    return Refused(_problem(document, status), retry, seconds(headers.get("retry-after", "")) if retry else None)


def seconds(retry_after: str, now: datetime | None = None) -> float | None:
    """The seconds given by a Retry-After header (RFC 9110, section 10.2.3), a number or a date; None if neither."""
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


def golden(document: Json) -> Json | None:
    """The report of golden photographs; None if it is not as specified."""
    photographs, causes = document.get("photographs"), document.get("causes")
    if not isinstance(photographs, list) or not all(isinstance(one, dict) for one in photographs):
        return None
    return document if isinstance(causes, dict) and isinstance(document.get("golden"), str) else None


def labels(document: Json) -> Json | None:
    """The members that are written, in this order; None if the labels are not as specified."""
    predictions = document.get("predictions")
    if not isinstance(predictions, list) or len(predictions) != 1 or not isinstance(predictions[0], dict):
        return None
    labels = predictions[0].get("labels")
    more = {name: predictions[0][name] for name in _MORE if predictions[0].get(name) is not None}
    if not isinstance(labels, list) or not all(map(_is_label, labels)):
        return None
    if not all(_MORE[name](value) for name, value in more.items()):
        return None
    answer = {name: document[name] for name in _KEPT if isinstance(document.get(name), str)}
    return {**answer, "labels": labels, **more}


def _is_label(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    return isinstance(entry.get("label"), str) and _is_number(entry.get("score"))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are_outputs(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_output, value))


def _is_output(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    shape, texts = entry.get("shape"), (entry.get("name"), entry.get("datatype"))
    is_shape = isinstance(shape, list) and all(isinstance(size, int) for size in shape)
    return is_shape and isinstance(entry.get("data"), list) and all(isinstance(text, str) for text in texts)


def _is_placement(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    return all(_is_number(value.get(one.name)) for one in fields(Placement)) and bool(
        value["scale_x"] and value["scale_y"]
    )


# What else is written of an image, and how it is checked.
_MORE: Mapping[str, Callable[[object], bool]] = {
    "model_version": lambda value: isinstance(value, str),
    "scores": lambda value: isinstance(value, list),
    "outputs": _are_outputs,
    "placement": _is_placement,
}


def _problem(document: Json, status: int) -> Problem:
    """The problem of a problem document; of any other document only the status."""
    texts = {name: document[name] for name in _PROBLEM if isinstance(document.get(name), str)}
    if "title" not in texts and status == 413:
        return Problem(
            "The photograph is too large",
            "The Functions host refused it: a request may have 100 MB.",
            "Send a smaller one.",
            status=status,
        )
    if "title" not in texts:
        return Problem(f"The gateway responded with status {status}", status=status)
    members = {name: value for name, value in document.items() if name not in {*_PROBLEM, "status"}}
    return Problem(**texts, status=status, members=members)


def _not_a_gateway(detail: str, status: int) -> Refused:
    remedy = "Check that the URL is that of a scoring gateway."
    return Refused(Problem("The response is not a scoring gateway's", detail, remedy, status=status))


def _not_found(document: Json) -> Stop:
    if document.get("type") == _UNKNOWN_SERVICE:
        return Stop(f"{_problem(document, 404).sentence} Select another with --service.", USAGE)
    if document.get("type") == _NO_PHOTOGRAPHS:
        return Stop(_problem(document, 404).sentence, USAGE)
    return Stop("no scoring gateway answers at the URL (404): check --url or SCORING_URL", UNREACHABLE)


_HELD: Mapping[Parse, str] = {labels: "labels", golden: "report of golden photographs"}
