"""A model's zip archive: an ONNX file, a manifest, and its class names.

``manifest.json`` of an archive::

    {"format": 1, "model": "cats.onnx", "labels": "cats.txt",
     "input": {"name": "pixels", "forms": ["encoded", "tensor"]},
     "output": {"name": "scores", "form": "logits"},
     "preprocessing": {"mean": [127, 127, 127], "scale": [128, 128, 128], "order": "RGB"}}

The graph's input is float32 [N, 224, 224, 3]. The short side of an image becomes 256 pixels and the centre of 224 by
224 is cut out; each channel then becomes ``(value - mean) / scale``, with values of 0 to 255, in the order RGB or BGR.
``forms`` are what callers may send: image files, tensors that they have prepared, or both (the default). ``labels``,
one class name a line, is optional for an output of the form ``features``.
"""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from devstack import typed_json
from devstack.control.errors import InvalidPackage

MANIFEST, MODEL, LABELS = "manifest.json", "model.onnx", "labels.txt"
"""The names of an unpacked model's files."""

# Bytes, unpacked: an accelerator's memory is smaller, this machine's is larger.
MAX_MODEL_BYTES = 512 * 1024 * 1024
_MAX_TEXT_BYTES = 1024 * 1024

_FORMAT = 1


@dataclass(frozen=True)
class Input:
    """The graph's input, and the forms in which callers may send images."""

    name: str
    forms: tuple[Literal["encoded", "tensor"], ...] = ("encoded", "tensor")


@dataclass(frozen=True)
class Output:
    """The graph's output, and the kind of its values."""

    name: str
    form: Literal["probabilities", "logits", "features"]


@dataclass(frozen=True)
class Preprocessing:
    """How decoded images become the input: each channel is ``(value - mean) / scale``."""

    mean: tuple[float, float, float] = (127.0, 127.0, 127.0)
    scale: tuple[float, float, float] = (128.0, 128.0, 128.0)
    order: Literal["RGB", "BGR"] = "RGB"


@dataclass(frozen=True)
class Manifest:
    """How a model is used; ``model`` and ``labels`` are names in the archive."""

    model: str
    input: Input
    output: Output
    preprocessing: Preprocessing = Preprocessing()
    labels: str = ""

    def __post_init__(self) -> None:
        for name in (self.model, self.labels):
            if PurePosixPath(name).name != name:
                raise ValueError("model and labels must be names of files in the archive, without a folder")
        if not self.labels and self.output.form != "features":
            raise ValueError("labels is missing")
        if not self.input.forms:
            raise ValueError("input.forms must not be empty")
        if 0 in self.preprocessing.scale:
            raise ValueError("preprocessing.scale must not contain zero")


@dataclass(frozen=True)
class Package:
    """A checked model: its manifest, the number of output values for one image, and the number of its labels."""

    manifest: Manifest
    size: int
    labels: int


def unpack(archive: Path, folder: Path) -> Package:
    """Check an archive and write its files into ``folder``, which must exist.

    Raises:
        InvalidPackage: the archive is invalid; the message says why.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            manifest, labels = _copy(opened, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError):
        raise InvalidPackage("the model is not a zip archive, or a damaged one: pack it again") from None
    except (RuntimeError, NotImplementedError):
        raise InvalidPackage(
            "the zip archive is encrypted or uses an unknown compression: pack it with deflate"
        ) from None
    size = _check_graph(folder / MODEL, manifest)
    if manifest.output.form != "features" and labels != size:
        raise InvalidPackage(
            f"{manifest.labels} has {labels} labels, but the output {manifest.output.name} has {size} values"
        )
    return Package(manifest, size, labels)


def parse_manifest(content: bytes) -> Manifest:
    """Parse a manifest.

    Raises:
        InvalidPackage: a member is missing or invalid; the message names it.
    """
    try:
        return typed_json.read(Manifest, typed_json.load(content, _FORMAT))
    except ValueError as error:
        raise InvalidPackage(f"{MANIFEST}: {error}") from None


def _copy(archive: zipfile.ZipFile, folder: Path) -> tuple[Manifest, int]:
    content = _read(archive, MANIFEST, _MAX_TEXT_BYTES)
    manifest = parse_manifest(content)
    (folder / MANIFEST).write_bytes(content)
    (folder / MODEL).write_bytes(_read(archive, manifest.model, MAX_MODEL_BYTES))
    if not manifest.labels:
        return manifest, 0
    labels = _read(archive, manifest.labels, _MAX_TEXT_BYTES)
    (folder / LABELS).write_bytes(labels)
    return manifest, _count_labels(labels, manifest.labels)


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise InvalidPackage(f"the zip archive has no {name}; it has {archive.namelist()[:10]}") from None
    with archive.open(info) as member:
        # The size that the archive states may be wrong.
        content = member.read(limit + 1)
    if len(content) > limit:
        raise InvalidPackage(f"{name} is larger than {limit} bytes")
    return content


def _count_labels(content: bytes, name: str) -> int:
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise InvalidPackage(f"{name} is not UTF-8 text") from None
    if not all(line.strip() for line in lines):
        raise InvalidPackage(f"{name} has an empty line: write one class name a line")
    return len(lines)


def _check_graph(path: Path, manifest: Manifest) -> int:
    """Check that the graph matches the manifest; returns the number of output values for one image."""
    # Only registrations need these, which take half a second to import.
    import onnx  # noqa: PLC0415
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    from devstack.fpga.inference import ModelError, Session  # noqa: PLC0415

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (DecodeError, ValueError):
        raise InvalidPackage(f"{manifest.model} is not an ONNX model, or a damaged one") from None
    if any(tensor.external_data for tensor in graph.initializer):
        raise InvalidPackage(f"{manifest.model} has weights in other files: save it as a single file")
    names = {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}
    wanted = manifest.input.name
    if names != {wanted}:
        raise InvalidPackage(f"{manifest.model} has the inputs {sorted(names)}; the manifest names {wanted!r}")
    try:
        size = Session(path, manifest.output.name).size
    except ModelError as error:
        raise InvalidPackage(str(error).replace(str(path), manifest.model)) from None
    if size < 2:
        raise InvalidPackage(f"the output {manifest.output.name} has a single value: it must have two or more")
    return size
