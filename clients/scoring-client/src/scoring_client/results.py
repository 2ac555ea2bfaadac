"""What becomes of an image: labels, or a problem; and what ends the whole run."""

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

# The exit codes of the command.
ALL_SCORED, SOME_FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3


@dataclass(frozen=True)
class Problem:
    """Why an image was not scored, in the members of a problem document (RFC 9457); ``status`` 0: none came."""

    title: str
    detail: str = ""
    remedy: str = ""
    type: str = ""
    status: int = 0
    request_id: str = ""

    @property
    def sentence(self) -> str:
        """One line: what it is, the cause, what to do."""
        parts = [f"{self.title}:" if self.detail else f"{self.title}.", self.detail, self.remedy]
        return " ".join(part for part in parts if part)

    @property
    def record(self) -> Json:
        return {name: value for name, value in vars(self).items() if value}


@dataclass(frozen=True)
class Scored:
    """An image with its labels; ``answer`` holds what the gateway says of it, ``labels`` among that."""

    file: str
    answer: Json = field(repr=False)

    @property
    def labels(self) -> list[Json]:
        labels: list[Json] = self.answer["labels"]
        return labels

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
    """Nothing more can be scored; the message is one line, and ``code`` what the command exits with."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def printable(text: str) -> str:
    """A text of others, made harmless for a terminal: without control characters and escape sequences."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
