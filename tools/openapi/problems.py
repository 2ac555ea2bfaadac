"""The problems that operations can respond with: sets of the error classes in :mod:`shared.errors`."""

import itertools
from collections.abc import Collection, Iterable, Mapping

from functions.http.problems import PROBLEM_TYPE
from shared import errors
from shared.errors import GatewayError, problem_types
from tools.openapi.elements import Json, present, ref, response, schema

type Problem = type[GatewayError]
type Problems = Collection[Problem]

REQUEST_ID = "3205e161-bfea-40af-af0d-50c9dec5a00c"

# Responses with these statuses can have the header Retry-After.
_RETRIED = {409, 503}


def _without(kinds: Iterable[Problem], *others: Problems) -> Problems:
    return [kind for kind in kinds if not any(kind in other for other in others)]


INTERNAL: Problems = [errors.InternalError]
SETTINGS: Problems = [errors.Misconfigured, errors.InternalError]
PARAMETER: Problems = [errors.InvalidParameter]
UNKNOWN_SERVICE: Problems = [errors.UnknownService]
CONTROL_PLANE: Problems = [
    errors.NotRotated,
    errors.RotationBusy,
    errors.ControlPlaneUnreachable,
    errors.ControlPlaneRefused,
]
METRICS: Problems = [errors.MetricsOff, errors.MetricsKeyRefused]
FOREIGN_ORIGIN: Problems = [errors.ForeignOrigin]
GOLDEN: Problems = [errors.NoGoldenPhotographs]
# The forms of an upload that only the gateway's own API has.
_UPLOAD_FORMS: Problems = [
    errors.UnsupportedContentType,
    errors.MalformedMultipart,
    errors.PartWithoutFile,
    errors.MalformedJson,
    errors.MalformedBase64,
    errors.ImageAddress,
]
# What the compatibility APIs alone respond with, in the form of their protocols.
PROTOCOL: Problems = [errors.InvalidTensor, errors.UnknownVersion, errors.MethodNotOffered]
_OTHERS = _without(problem_types(), UNKNOWN_SERVICE, CONTROL_PLANE, FOREIGN_ORIGIN, GOLDEN, METRICS, PROTOCOL)
# All others: those of a request with images, and those of the gateway, Key Vault and the inference service.
UPLOAD: Problems = [kind for kind in _OTHERS if kind.status < 500]
SERVICE: Problems = [kind for kind in _OTHERS if kind.status >= 500]
INFERENCE: Problems = [*_without(UPLOAD, _UPLOAD_FORMS), *PROTOCOL]


def by_status(kinds: Iterable[Problem]) -> Mapping[int, Problems]:
    """The problems by HTTP status, in ascending order."""
    ordered = sorted(kinds, key=lambda kind: kind.status)
    return {status: list(found) for status, found in itertools.groupby(ordered, key=lambda kind: kind.status)}


def titles(kinds: Iterable[Problem]) -> str:
    """The titles of the problems, in a line."""
    return "; ".join(kind.title for kind in kinds) + "."


def headers(status: int) -> Collection[str]:
    """The names of the headers that an error response can have."""
    return ["Retry-After"] if status in _RETRIED else []


def responses(*groups: Iterable[Problem]) -> dict[str, Json]:
    """The error responses of an operation that responds with problem documents."""
    return {
        str(status): response(titles(kinds), _content(kinds), headers(status))
        for status, kinds in by_status(itertools.chain(*groups)).items()
    }


def examples() -> dict[str, Json]:
    """An example of each problem, by its slug."""
    return {kind.slug: {"summary": kind.title, "value": example(kind)} for kind in _without(problem_types(), PROTOCOL)}


def _content(kinds: Problems) -> Json:
    """The problems as examples; in the schema, their types would become a class of each operation and status."""
    shown = {kind.slug: ref("examples", kind.slug) for kind in kinds}
    return {"application/problem+json": {"schema": schema("Problem"), "examples": shown}}


def example(kind: Problem, request_id: str | None = REQUEST_ID) -> Json:
    """A problem document of this type, with its meaning as the detail."""
    return present(
        type=PROBLEM_TYPE + kind.slug,
        title=kind.title,
        status=kind.status,
        detail=kind.meaning,
        remedy=kind.remedy,
        request_id=request_id,
    )
