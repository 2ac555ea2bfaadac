"""Runs a notebook in a kernel of this interpreter; Jupyter's files are in a temporary folder.

As a program, it runs docs/quickstart.ipynb with the running local stack, and writes the outputs to the file::

    python -m tests.system.docs.notebooks
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

QUICKSTART = Path(__file__).parents[3] / "docs" / "quickstart.ipynb"

# The time limit of a cell in seconds; a rotation takes most of a minute with the stack's default settings.
_TIMEOUT = 300

_KERNEL = "this-interpreter"
_START = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]

# Values that differ between runs: fingerprints, scores and counts.
_CHANGING = re.compile(r"\b[0-9a-f]{16}\b|\d+(\.\d+)?")


def read(path: Path) -> NotebookNode:
    """Read and validate a notebook."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]  # the package has no types
    nbformat.validate(notebook)
    return notebook


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook."""
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]  # the package has no types


def execute(
    notebook: NotebookNode, environment: Mapping[str, str], after: Callable[[str], None] = lambda _cell: None
) -> None:
    """Run all cells in the folder docs, and store their outputs in the notebook.

    ``environment`` is added to that of this process; ``after`` is called after each code cell, with its id.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised an exception; the notebook has the outputs so far.
    """

    def executed(cell: NotebookNode, **_: Any) -> None:
        after(cell.id)

    with _jupyter() as config:
        client = NotebookClient(
            notebook,
            config=config,
            kernel_name=_KERNEL,
            timeout=_TIMEOUT,
            # No times in the file, and one output for all printed text of a cell.
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(QUICKSTART.parent)}},
            on_cell_executed=executed,
        )
        # Without gRPC's own log of failed handshakes, whose text differs between runs.
        client.execute(env={**os.environ, "GRPC_VERBOSITY": "NONE", **environment})


@contextmanager
def _jupyter() -> Iterator[Config]:
    """Configure Jupyter to find the kernel, and to connect with Unix sockets instead of ports.

    The folder is not one of pytest's, because the paths of sockets must be short.
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
    """The code cells by their ids."""
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def printed(cell: NotebookNode) -> str:
    """The text of a cell's outputs, including errors."""
    return "\n".join(_text(output) for output in cell.outputs)


def shape(cell: NotebookNode) -> list[tuple[str, list[str], str]]:
    """The type of each output, its content types, and its text without values that differ between runs."""
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


def _update() -> None:
    notebook = read(QUICKSTART)
    metadata = dict(notebook.metadata)
    execute(notebook, {}, after=lambda cell: print(cell, flush=True))
    # Jupyter adds versions of the interpreter.
    notebook.metadata = metadata
    write(notebook, QUICKSTART)


if __name__ == "__main__":
    _update()
