"""What scoring takes and returns, without the libraries that it uses: cheap to import at a cold start."""

from typing import TYPE_CHECKING, NamedTuple

from shared.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from shared.scoring.images.geometry import Placement
    from shared.upstream.codecs import Tensor


class Upload(NamedTuple):
    """An image file as it was uploaded, and its name; ``fault`` is why it cannot be scored, where that is known."""

    name: str
    data: bytes
    fault: GatewayError | None = None


class Ranking(NamedTuple):
    """How many labels are requested (0: all), and the lowest score."""

    top: int = 5
    threshold: float = 0.0


class Label(NamedTuple):
    """One class with its score; ``id`` is its index in the model's output."""

    id: int
    label: str
    score: float


class Prediction(NamedTuple):
    """The result for one image; ``scores`` are all of them in the order of the classes, where all were requested.

    ``version`` is the model's, where the service reports it. Of a service whose outputs are raw there are ``outputs``
    instead of labels, and ``placement`` says where the picture is in the model's input.
    """

    file: str
    labels: list[Label]
    scores: "list[float] | npt.NDArray[np.float32] | None" = None
    version: str | None = None
    outputs: "Sequence[Tensor] | None" = None
    placement: "Placement | None" = None
