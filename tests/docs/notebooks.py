"""Runs a notebook in a kernel of this very interpreter, and keeps all that Jupyter writes in a folder that goes again.

As a program it runs docs/quickstart.ipynb on the stack that runs, and writes its outputs into the file::

    python -m tests.docs.notebooks
"""

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

QUICKSTART = Path(__file__).parent.parent.parent / "docs" / "quickstart.ipynb"

# Seconds for a cell; a rotation takes most of a minute with the stack's own settings.
_PATIENCE = 300

_KERNEL = "of-this-interpreter"
_START = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]

# What differs from run to run: fingerprints, scores and counts.
_CHANGING = re.compile(r"\b[0-9a-f]{16}\b|\d+(\.\d+)?")


def read(path: Path) -> NotebookNode:
    """A notebook; one that breaks the format's rules raises."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]  # the package's
    nbformat.validate(notebook)
    return notebook


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook."""
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]  # the package's


def execute(
    notebook: NotebookNode, environment: Mapping[str, str], after: Callable[[str], None] = lambda _cell: None
) -> None:
    """Run all cells in the folder docs, and put their outputs into the notebook.

    ``environment`` is added to this process's; ``after`` is called after each cell of code, with its id.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised something; the outputs up to there are in the notebook.
    """

    def executed(cell: NotebookNode, **_: Any) -> None:
        after(cell.id)

    with _jupyter() as config:
        client = NotebookClient(
            notebook,
            config=config,
            kernel_name=_KERNEL,
            timeout=_PATIENCE,
            # When a cell ran is of no interest; and what it printed is one output, however it arrived.
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(QUICKSTART.parent)}},
            on_cell_executed=executed,
        )
        client.execute(env={**os.environ, **environment})


@contextmanager
def _jupyter() -> Iterator[Config]:
    """Where Jupyter finds the kernel, and connects by sockets in a folder in place of ports.

    That folder is not one of pytest's: the paths of sockets must be short.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variables = {
            "IPYTHONDIR": str(folder / "ipython"),
            **{f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")},
            "JUPYTER_PLATFORM_DIRS": "1",
        }
        spec = folder / "data" / "kernels" / _KERNEL / "kernel.json"
        spec.parent.mkdir(parents=True)
        spec.write_text(json.dumps({"argv": _START, "display_name": _KERNEL, "language": "python"}))
        with mock.patch.dict(os.environ, variables):
            yield Config({"KernelManager": {"transport": "ipc", "ip": str(folder / "socket")}})


def code(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """The cells of code, by their ids."""
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def printed(cell: NotebookNode) -> str:
    """What a cell shows, as text, and the line of an error."""
    return "\n".join(_text(output) for output in cell.outputs)


def shape(cell: NotebookNode) -> list[tuple[str, list[str], str]]:
    """Of each output its type, its kinds of content, and its text without what differs from run to run."""
    return [
        (output.output_type, sorted(output.get("data", {})), _CHANGING.sub("#", _text(output)))
        for output in cell.outputs
    ]


def _text(output: NotebookNode) -> str:
    match output.output_type:
        case "stream":
            return str(output.text)
        case "error":
            return "\n".join(output.traceback)
        case _:
            return str(output.data["text/plain"])


def _renew() -> None:
    notebook = read(QUICKSTART)
    metadata = dict(notebook.metadata)
    execute(notebook, {}, after=lambda cell: print(cell, flush=True))
    # Jupyter adds the versions of what ran it.
    notebook.metadata = metadata
    write(notebook, QUICKSTART)


if __name__ == "__main__":
    _renew()
