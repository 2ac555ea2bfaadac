"""Which problems an operation may answer with, as sets of the one tree in :mod:`shared.errors`."""

import inspect
import itertools
from collections.abc import Iterable, Mapping

from functions.answers import PROBLEM_TYPE
from functions.openapi_schemas import REQUEST_ID, Json, ref, schema
from shared import errors
from shared.errors import GatewayError

type Problems = tuple[type[GatewayError], ...]

# Any request that needs the settings.
OWN: Problems = (errors.Misconfigured, errors.InternalError)
UNKNOWN: Problems = (errors.UnknownService,)
TIMEOUT: Problems = (errors.InvalidParameter,)
BODY: Problems = (errors.EmptyBody, errors.LengthRequired)
UPLOAD: Problems = (
    *BODY,
    errors.UnsupportedContentType,
    errors.MalformedMultipart,
    errors.PartWithoutFile,
    errors.MalformedJson,
    errors.MalformedBase64,
)
IMAGES: Problems = (
    errors.TooManyImages,
    errors.ImageTooLarge,
    errors.MessageTooLarge,
    errors.UnsupportedImage,
    errors.DamagedImage,
)
VAULT: Problems = (
    errors.IdentityUnavailable,
    errors.VaultUnreachable,
    errors.VaultThrottled,
    errors.VaultForbidden,
    errors.SecretMissing,
    errors.SecretDisabled,
    errors.InvalidPin,
)
CONTROL: Problems = (
    errors.NotRotated,
    errors.RotationBusy,
    errors.ControlPlaneUnreachable,
    errors.ControlPlaneRefused,
)
SERVICE: Problems = (
    errors.ServiceUnreachable,
    errors.ServiceUntrusted,
    errors.ServiceCertificateExpired,
    errors.ServiceNameMismatch,
    errors.ServiceWithoutTls,
    errors.KeysRefused,
    errors.Overloaded,
    errors.ServiceBusy,
    errors.DeadlineExceeded,
    errors.ServiceRejected,
    errors.ServiceAnswerInvalid,
    errors.ServiceFailed,
)

# Statuses at which trying again may help, and whose answers may say when.
_RETRIED = {409, 503}


def by_status(problems: Iterable[type[GatewayError]]) -> Mapping[int, Problems]:
    """The problems of each status, in the order of the statuses."""
    ordered = sorted(problems, key=lambda kind: kind.status)
    return {status: tuple(kinds) for status, kinds in itertools.groupby(ordered, key=lambda kind: kind.status)}


def examples() -> dict[str, Json]:
    """An example of every problem there is, by its slug."""
    return {kind.slug: _example(kind) for kind in GatewayError.__subclasses__()}


def responses(problems: Iterable[type[GatewayError]]) -> dict[str, Json]:
    """The answers of an operation that tells its errors as problem documents."""
    return {str(status): _response(status, kinds) for status, kinds in by_status(problems).items()}


def retried(status: int) -> Json:
    """The header Retry-After, where answers of that status may have it."""
    return {"headers": {"Retry-After": ref("headers", "Retry-After")}} if status in _RETRIED else {}


def titles(kinds: Iterable[type[GatewayError]]) -> str:
    """What the problems are, in a line."""
    return "; ".join(kind.title for kind in kinds) + "."


def _response(status: int, kinds: Problems) -> Json:
    types = [PROBLEM_TYPE + kind.slug for kind in kinds]
    return {
        "description": titles(kinds),
        **retried(status),
        "content": {
            "application/problem+json": {
                "schema": {
                    "allOf": [schema("Problem")],
                    "properties": {"type": {"enum": types}, "status": {"const": status}},
                },
                "examples": {kind.slug: ref("examples", kind.slug) for kind in kinds},
            }
        },
    }


def _example(kind: type[GatewayError]) -> Json:
    cause = (inspect.getdoc(kind) or kind.title).partition("\n")[0]
    value: Json = {
        "type": PROBLEM_TYPE + kind.slug,
        "title": kind.title,
        "status": kind.status,
        "detail": cause.replace("``", ""),
    }
    if kind.remedy:
        value["remedy"] = kind.remedy
    return {"summary": kind.title, "value": {**value, "request_id": REQUEST_ID}}
