"""What a model is called with and what it says of itself, without the libraries that it is done with.

Cheap to import at a cold start. The errors here are the inference protocols' own: each protocol tells them in its own
form, and none of them is a problem document.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple


class ModelError(Exception):
    """Base of what a model's callers can get wrong; ``detail`` says so in plain words, ``status`` is HTTP's."""

    status: ClassVar[int]

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class TensorRefused(ModelError):
    """What was sent does not fit the model: its form, name, type, shape or values; ``detail`` says what would."""

    status = 400


class VersionUnknown(ModelError):
    """The model has no such version or label."""

    status = 404


class BodyTooLarge(ModelError):
    """A compressed body that is too large when it is unpacked."""

    status = 413


class EncodingUnknown(ModelError):
    """A body in a coding that is not read here."""

    status = 415


class MethodMissing(ModelError):
    """The inference service, or the gateway, does not offer what was asked for."""

    status = 501


@dataclass(frozen=True)
class Selector:
    """Which version and signature of a model is meant; what is None or empty is left to the service and the settings.

    At most one of ``version`` and ``label`` is given.
    """

    version: int | None = None
    label: str = ""
    signature: str = ""


class Files(NamedTuple):
    """A tensor of image files, ``DT_STRING`` of shape ``[N]``."""

    data: Sequence[bytes]


class Floats(NamedTuple):
    """A tensor of numbers, ``DT_FLOAT``; ``content`` holds them little-endian, row by row, and fits the shape."""

    shape: tuple[int, ...]
    content: bytes | memoryview


class VersionStatus(NamedTuple):
    """One version of a model: TensorFlow Serving's name of its state, and gRPC's name and words of what ails it."""

    version: int
    state: str
    error_code: str
    error_message: str


@dataclass(frozen=True)
class Signatures:
    """What a service says of a model: the version that it spoke of, and each signature in protobuf's JSON form.

    ``spec`` is a ModelSpec in that form, ``definitions`` the ``signature_def`` of a SignatureDefMap, with the field
    names of the .proto files (https://protobuf.dev/programming-guides/json/).
    """

    spec: Mapping[str, Any]
    definitions: Mapping[str, Any]

    def output_shape(self, signature: str, output: str) -> list[int] | None:
        """The shape of an output, -1 where a size varies; None where no shape is told.

        Of the signature named, or else of TensorFlow Serving's default one.
        """
        definition = self.definitions.get(signature or "serving_default", {})
        shape = definition.get("outputs", {}).get(output, {}).get("tensor_shape", {})
        if not shape or shape.get("unknown_rank"):
            return None
        return [int(dim["size"]) for dim in shape.get("dim", ())]
