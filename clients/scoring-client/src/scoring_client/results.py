"""The outcome of an image, labels or a problem, and the exception that ends the whole run."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

Json = dict[str, Any]

# The exit codes of the command.
ALL_SCORED, SOME_FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3

# Members of a problem document that locate an image in a form; here each request has one image, named on its own line.
_LOCATION = {"file", "index"}


@dataclass(frozen=True)
class Problem:
    """Why an image was not scored: the members of a problem document (RFC 9457).

    ``status`` is 0 if no response arrived; ``members`` are the document's extension members, such as ``services``.
    """

    title: str
    detail: str = ""
    remedy: str = ""
    type: str = ""
    status: int = 0
    request_id: str = ""
    members: Mapping[str, object] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """One line: the title, the cause, the data members that it does not mention, what to do."""
        members = {name: _listed(value) for name, value in self.members.items() if name not in _LOCATION}
        data = [f"{name}: {value}." for name, value in members.items() if value not in self.detail]
        parts = [f"{self.title}:" if self.detail else f"{self.title}.", self.detail, *data, self.remedy]
        return " ".join(part for part in parts if part)

    @property
    def record(self) -> Json:
        own = {name: value for name, value in vars(self).items() if value and name != "members"}
        return {**own, **self.members}


@dataclass(frozen=True)
class Output:
    """An output of a model as it is: numbers, booleans or strings, flat and row by row; None is NaN or infinity."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any] = field(repr=False)


@dataclass(frozen=True)
class Placement:
    """Where the image is in the model's input, and so where a point of an output is in the image.

    ``width`` and ``height`` are the image's, turned upright by its EXIF ``orientation``.
    """

    width: int
    height: int
    orientation: int
    input_width: int
    input_height: int
    scale_x: float
    scale_y: float
    pad_left: float
    pad_top: float

    def in_image(self, x: float, y: float) -> tuple[float, float]:
        """A point of the model's input, as of a box, in the pixels of the upright image."""
        return (x - self.pad_left) / self.scale_x, (y - self.pad_top) / self.scale_y


@dataclass(frozen=True)
class Scored:
    """An image with its labels, scores or outputs; ``answer`` holds the gateway's members for it."""

    file: str
    answer: Json = field(repr=False)

    @property
    def labels(self) -> list[Json]:
        labels: list[Json] = self.answer["labels"]
        return labels

    @property
    def scores(self) -> list[float] | None:
        """Each class's score, where all were requested or the service returns scores."""
        return self.answer.get("scores")

    @property
    def outputs(self) -> list[Output] | None:
        """The model's outputs, of a service that returns them as they are."""
        found = self.answer.get("outputs")
        if found is None:
            return None
        return [Output(one["name"], one["datatype"], tuple(one["shape"]), one["data"]) for one in found]

    @property
    def placement(self) -> Placement | None:
        """Where the image is in the model's input, beside :attr:`outputs`."""
        found = self.answer.get("placement")
        return None if found is None else Placement(**{one.name: found[one.name] for one in fields(Placement)})

    @property
    def record(self) -> Json:
        return {"file": self.file, **self.answer}


@dataclass(frozen=True)
class Failed:
    """An image without labels."""

    file: str
    problem: Problem

    @property
    def record(self) -> Json:
        return {"file": self.file, "error": self.problem.record}


Result = Scored | Failed


class Stop(Exception):
    """Ends the run: no other image could be scored. The message is one line, ``code`` the command's exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def printable(text: str) -> str:
    """A text from elsewhere, made safe for a terminal: without control characters and escape sequences."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
