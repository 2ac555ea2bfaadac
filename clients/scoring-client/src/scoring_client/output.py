"""The formats of results: a table for people, JSON lines or a JSON array for programs."""

import json
from collections.abc import Callable, Sequence
from typing import Protocol

from scoring_client.results import Failed, Json, Result, Scored, printable

FORMATS = ("table", "jsonl", "json")

Write = Callable[[str], object]

_LABEL_WIDTH = 28
# The numbers of an output that the table has.
_SHOWN = 4


class Writer(Protocol):
    """Writes results in one format, each as soon as it is available."""

    def write(self, result: Result) -> None: ...

    def close(self) -> None: ...


class Table:
    """Columns of fixed widths, so that no row waits for another. Failures are reported on stderr instead."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._started = False

    def write(self, result: Result) -> None:
        if isinstance(result, Failed):
            return
        if not self._started:
            self._started = True
            self._write(_row("SCORE", "LABEL", "FILE"))
        self._write("".join(_rows(result)))

    def close(self) -> None:
        """Nothing remains to be written."""


class Lines:
    """JSON Lines: one object per line, for failures too."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def write(self, result: Result) -> None:
        self._write(f"{_json(result.record)}\n")

    def close(self) -> None:
        """Nothing remains to be written."""


class Array:
    """One JSON array, complete even if the run is interrupted."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._started = False

    def write(self, result: Result) -> None:
        self._write(f"{',' if self._started else '['}\n{_json(result.record)}")
        self._started = True

    def close(self) -> None:
        self._write("\n]\n" if self._started else "[]\n")


def writer(format_name: str, write: Write) -> Writer:
    """A writer of the format, one of ``FORMATS``."""
    writers: dict[str, Callable[[Write], Writer]] = {"table": Table, "jsonl": Lines, "json": Array}
    return writers[format_name](write)


def _rows(result: Scored) -> list[str]:
    file = printable(result.file)
    if not result.labels and (found := _numbers(result)):
        return [_row("-", text, "" if number else file) for number, text in enumerate(found)]
    if not result.labels:
        return [_row("-", "(no label reaches the threshold)", file)]
    rows = [(f"{label['score']:.2%}", printable(label["label"])) for label in result.labels]
    return [_row(score, label, "" if number else file) for number, (score, label) in enumerate(rows)]


def _numbers(result: Scored) -> list[str]:
    """The outputs or scores of a service that returns no labels: the first numbers of each."""
    if result.outputs is None:
        return [] if result.scores is None else [_first("scores", "", [len(result.scores)], result.scores)]
    return [_first(one.name, f" {one.datatype}", one.shape, one.data) for one in result.outputs]


def _first(name: str, datatype: str, shape: Sequence[int], data: Sequence[object]) -> str:
    shown = ", ".join(f"{value:.4g}" if isinstance(value, float) else str(value)[:20] for value in data[:_SHOWN])
    return printable(f"{name}{datatype} [{','.join(map(str, shape))}]: {shown}{', ...' if len(data) > _SHOWN else ''}")


def _row(score: str, label: str, file: str) -> str:
    return f"{score:>7}  {label:<{_LABEL_WIDTH}}  {file}".rstrip() + "\n"


def _json(record: Json) -> str:
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        # A file name that is not UTF-8: escaped, it can be written, and read again unchanged.
        return json.dumps(record)
    return text
