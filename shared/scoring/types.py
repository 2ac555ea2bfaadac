"""What scoring takes and returns, without the libraries that it uses: cheap to import at a cold start."""

from dataclasses import dataclass
from typing import NamedTuple

from shared.errors import GatewayError


class Upload(NamedTuple):
    """An image file as it was uploaded, and its name; ``fault`` is why it cannot be scored, where that is known."""

    name: str
    data: bytes
    fault: GatewayError | None = None


@dataclass(frozen=True)
class Ranking:
    """How many labels are requested (0: all), and the lowest score."""

    top: int = 5
    threshold: float = 0.0


class Label(NamedTuple):
    """One class with its score; ``id`` is its index in the model's output."""

    id: int
    label: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """The result for one image; ``scores`` are all of them in the order of the classes, where all were requested.

    ``version`` is the model's, where the service reports it.
    """

    file: str
    labels: list[Label]
    scores: list[float] | None
    version: str | None = None
