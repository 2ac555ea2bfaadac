"""The interface of a codec, and the values that it takes and returns. Cheap to import at a cold start."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from shared.settings import Datatype
from shared.upstream.codecs.model import ModelInterface, ModelMetadata

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# A tensor of more dimensions is neither a picture nor a classifier's output.
MAX_RANK = 8
# The values in the answer to a request, and the classes of one image: more than any classifier has, and few enough to
# be ranked, named and written as JSON within some tens of milliseconds.
MAX_VALUES, MAX_CLASSES = 1_000_000, 32_768


class Selector(NamedTuple):
    """The version and signature of a model; what is None or empty is left to the service and the settings.

    At most one of ``version`` and ``label`` is given.
    """

    version: int | None = None
    label: str = ""
    signature: str = ""


class EncodedImages(NamedTuple):
    """A tensor of image files: strings of shape ``[N]``."""

    files: Sequence[bytes]


class FloatTensor(NamedTuple):
    """A tensor of numbers; ``content`` has them little-endian, row by row, and fits the shape.

    They are float32, or of the model's own datatype.
    """

    shape: tuple[int, ...]
    content: bytes | memoryview
    datatype: Datatype = Datatype.FP32


class Output(NamedTuple):
    """A model's output: float32 of any shape, and the model's version where the service reports it."""

    values: "npt.NDArray[np.float32]"
    version: int | str | None


class Tensor(NamedTuple):
    """An output: numbers, little-endian and in the shape's order, or strings, flat."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: "npt.NDArray[Any] | Sequence[bytes]"


class Outputs(NamedTuple):
    """All outputs of one call, and the model's version where the service reports it."""

    tensors: tuple[Tensor, ...]
    version: int | str | None


class Rpc(NamedTuple):
    """A gRPC method by its full name, and the serialized request."""

    method: str
    request: bytes


class VersionStatus(NamedTuple):
    """One version of a model: its state, and the name and message of the gRPC status behind it.

    The states are those of TensorFlow Serving: AVAILABLE, LOADING and so on.
    """

    version: int | str
    state: str
    error_code: str
    error_message: str


class Signatures(NamedTuple):
    """A model's metadata: the version that it describes, and each signature in protobuf's JSON form.

    ``spec`` is a ModelSpec in that form, ``definitions`` the ``signature_def`` of a SignatureDefMap, with the field
    names of TensorFlow Serving's .proto files (https://protobuf.dev/programming-guides/json/).
    """

    spec: Mapping[str, Any]
    definitions: Mapping[str, Any]

    def output_shape(self, signature: str, output: str) -> list[int] | None:
        """The shape of an output, -1 where a size varies; None where the metadata has no shape.

        Of the signature named, or else of TensorFlow Serving's default one.
        """
        definition = self.definitions.get(signature or "serving_default", {})
        shape = definition.get("outputs", {}).get(output, {}).get("tensor_shape", {})
        if not shape or shape.get("unknown_rank"):
            return None
        return [int(dim["size"]) for dim in shape.get("dim", ())]


class RequestTemplate(Protocol):
    """Makes the inference requests of one service and selector: all but the images is the same in each."""

    def room(self, message_bytes: int) -> int:
        """The bytes that a message of that many bytes leaves for an encoded image."""

    def encoded(self, images: Sequence[bytes | memoryview]) -> bytes:
        """A request of image files, a tensor of shape ``[N]``."""

    def numbers(self, datatype: Datatype, shape: tuple[int, ...], content: bytes | memoryview) -> bytes:
        """A request of values of a datatype, little-endian, row by row."""


class Codec(Protocol):
    """One protocol as one service uses it: the names of the model, its input and its output are fixed.

    Where the service's metadata decides them, ``model`` is None until :meth:`for_model` has made a codec that has one:
    requests are made, and inference responses read, by that one only. All methods that read a response raise
    ServiceAnswerInvalid where it is not what the protocol prescribes.
    """

    infer_method: str
    model: ModelInterface | None

    def for_model(self, model: ModelInterface) -> "Codec":
        """A codec of the same service for this model."""

    def describe(self) -> Sequence[Rpc]:
        """Asks for the metadata of the model that the settings choose; of several questions the first is essential."""

    def described(self, responses: Sequence[bytes | None]) -> ModelMetadata:
        """The metadata in the responses to :meth:`describe`; None where the service does not offer a method."""

    def requests(self, selector: Selector) -> RequestTemplate:
        """The inference requests for a version and signature."""

    def scores(self, response: bytes) -> "npt.NDArray[np.float32]":
        """The scores of one image: ``[classes]`` float32, all finite."""

    def classified(self, response: bytes) -> Output:
        """As :meth:`scores`, with the model's version."""

    def output(self, response: bytes, rows: int) -> Output:
        """The output for that many inputs: ``[rows, ...]`` float32, all finite."""

    def outputs(self, response: bytes) -> Outputs:
        """All outputs, or the one that the settings name, as they are."""

    def check(self, response: bytes) -> None:
        """Check that the response is of the kind that the settings say; it raises as the methods above do."""

    def labelled(self, requests: RequestTemplate, classes: int) -> RequestTemplate:
        """The requests, whose responses have the names of that many classes beside their scores."""

    def labels(self, response: bytes) -> list[str]:
        """The names of the classes, in their order, in the response to one of :meth:`labelled`."""

    def status(self, selector: Selector) -> Rpc:
        """Asks for the model's versions."""

    def versions(self, response: bytes) -> list[VersionStatus]:
        """The model's versions in the response to :meth:`status`."""

    def metadata(self, selector: Selector) -> Rpc:
        """Asks for the model's signatures."""

    def signatures(self, response: bytes) -> Signatures:
        """The model's signatures in the response to :meth:`metadata`."""

    def readiness(self) -> Sequence[Rpc]:
        """Asks whether the service is ready; each question is for services that do not offer the one before."""

    def reported_status(self, method: str, response: bytes) -> str:
        """The status in the response to a method of :meth:`readiness`: ``serving`` where the service is ready."""
