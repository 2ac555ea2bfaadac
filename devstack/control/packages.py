"""A model's zip archive: an ONNX file, a manifest that says how to use it, and its class names.

``manifest.json`` of an archive::

    {"format": 1, "model": "cats.onnx", "labels": "cats.txt",
     "input": {"name": "pixels", "forms": ["encoded", "tensor"]},
     "output": {"name": "scores", "form": "logits"},
     "preprocessing": {"mean": [127, 127, 127], "scale": [128, 128, 128], "order": "RGB"}}

The graph's input is float32 [N, 224, 224, 3]. Of an image file the short side becomes 256 pixels and the centre of 224
by 224 is cut out; each channel then becomes ``(value - mean) / scale``, with values of 0 to 255, in the order RGB or
BGR. ``forms`` are what callers may send: image files, tensors that they have prepared, or both (the default).
``labels``, one class name a line, is left out for an output of the form ``features``.
"""

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from devstack.control.errors import InvalidPackage

MANIFEST, MODEL, LABELS = "manifest.json", "model.onnx", "labels.txt"
"""The names under which an unpacked model's files are kept."""

# Bytes, unpacked: beyond what an accelerator's memory takes, and within what this machine's does.
MAX_MODEL_BYTES = 512 * 1024 * 1024
_MAX_TEXT_BYTES = 1024 * 1024

_FORMAT = 1
_FORMS = ("probabilities", "logits", "features")
_INPUTS = ("encoded", "tensor")


@dataclass(frozen=True)
class Manifest:
    """How a model is used; ``model`` and ``labels`` are names in the archive."""

    model: str
    labels: str
    input: str
    inputs: tuple[str, ...]
    output: str
    form: str
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    order: str


@dataclass(frozen=True)
class Package:
    """A checked model: its manifest, the values it answers for one image, and the number of its labels."""

    manifest: Manifest
    size: int
    labels: int


def unpack(archive: Path, folder: Path) -> Package:
    """Check an archive and write its files into ``folder``, which must exist.

    Raises:
        InvalidPackage: it is no such archive; the message says what is wrong with it.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            manifest, labels = _copy(opened, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError):
        raise InvalidPackage("the model is no zip archive, or a damaged one: pack it again") from None
    except (RuntimeError, NotImplementedError):
        raise InvalidPackage("the zip archive is encrypted or packed in an unknown way: pack it with deflate") from None
    size = _check_graph(folder / MODEL, manifest)
    if manifest.form != "features" and labels != size:
        raise InvalidPackage(
            f"{manifest.labels} has {labels} labels, but the output {manifest.output} has {size} values"
        )
    return Package(manifest, size, labels)


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        InvalidPackage: a member is missing or wrong; the message names it.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidPackage(f"{MANIFEST} is not JSON") from None
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise InvalidPackage(f'{MANIFEST} must be an object with "format": {_FORMAT}')
    source, target = _object(document, "input"), _object(document, "output")
    steps = _object(document, "preprocessing", {})
    form = _choice(target, "form", "output", _FORMS)
    return Manifest(
        model=_member_name(document, "model"),
        labels="" if form == "features" and "labels" not in document else _member_name(document, "labels"),
        input=_text(source, "name", "input"),
        inputs=_inputs(source),
        output=_text(target, "name", "output"),
        form=form,
        mean=_triple(steps, "mean", 127.0),
        scale=_triple(steps, "scale", 128.0),
        order=_choice({"order": "RGB", **steps}, "order", "preprocessing", ("RGB", "BGR")),
    )


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
        # What the archive says about the size may be wrong: what counts is what comes out.
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
        raise InvalidPackage(f"{name} has an empty line: one class name a line is expected")
    return len(lines)


def _check_graph(path: Path, manifest: Manifest) -> int:
    """See that the graph can be run as the manifest says, and return the values that it answers for one image."""
    # Only registrations need the two, and they take half a second to import.
    import onnx  # noqa: PLC0415
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    from devstack.fpga.inference import ModelError, Session  # noqa: PLC0415

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (DecodeError, ValueError):
        raise InvalidPackage(f"{manifest.model} is no ONNX model, or a damaged one") from None
    if any(tensor.external_data for tensor in graph.initializer):
        raise InvalidPackage(f"{manifest.model} keeps weights in other files: save it as a single file")
    names = {each.name for each in graph.input} - {each.name for each in graph.initializer}
    if names != {manifest.input}:
        raise InvalidPackage(f"{manifest.model} has the inputs {sorted(names)}; the manifest names {manifest.input!r}")
    try:
        size = Session(path, manifest.output).size
    except ModelError as error:
        raise InvalidPackage(str(error).replace(str(path), manifest.model)) from None
    if size < 2:
        raise InvalidPackage(f"the output {manifest.output} has a single value: two are the least")
    return size


def _object(document: dict[str, Any], name: str, default: dict[str, Any] | None = None) -> dict[str, Any]:
    value = document.get(name, default)
    if not isinstance(value, dict):
        raise InvalidPackage(f'{MANIFEST}: "{name}" is missing or no object')
    return value


def _text(document: dict[str, Any], name: str, where: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidPackage(f'{MANIFEST}: "{name}" of "{where}" is missing or no text')
    return value


def _member_name(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or PurePosixPath(value).name != value:
        raise InvalidPackage(f'{MANIFEST}: "{name}" must be the name of a file in the archive, without a folder')
    return value


def _choice(document: dict[str, Any], name: str, where: str, choices: tuple[str, ...]) -> str:
    value = document.get(name)
    if value not in choices:
        raise InvalidPackage(f'{MANIFEST}: "{name}" of "{where}" must be one of {list(choices)}')
    return str(value)


def _inputs(document: dict[str, Any]) -> tuple[str, ...]:
    value = document.get("forms", list(_INPUTS))
    if not isinstance(value, list) or not value or any(each not in _INPUTS for each in value):
        raise InvalidPackage(f'{MANIFEST}: "forms" of "input" must be a list of {list(_INPUTS)}')
    return tuple(value)


def _triple(document: dict[str, Any], name: str, default: float) -> tuple[float, float, float]:
    value = document.get(name, [default] * 3)
    numbers = isinstance(value, list) and all(type(each) in (int, float) for each in value)
    if not numbers or len(value) != 3 or (name == "scale" and 0 in value):
        raise InvalidPackage(f'{MANIFEST}: "{name}" of "preprocessing" must be three numbers; a scale is not zero')
    red, green, blue = (float(each) for each in value)
    return red, green, blue
