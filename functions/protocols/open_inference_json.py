"""The bodies of the Open Inference Protocol: JSON, and tensors as bytes after it.

The JSON is that of https://github.com/kserve/open-inference-protocol. With the binary tensor data extension
(https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_binary_data.html) the
header Inference-Header-Content-Length is the JSON's length; a tensor's bytes, little-endian and row by row, follow.
There an element of ``BYTES`` is its length in four bytes and then itself; in JSON it is a string, or base64 where the
input's parameter ``content_type`` is ``base64``. Values are sliced from the body, and never copied here.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from functions.http import arrays
from functions.protocols.endpoint import contiguous, parse_name, to_json
from functions.protocols.json_documents import Numbers, parse_object
from functions.protocols.json_tensors import dense, from_base64, packed, type_name
from shared.errors import InvalidTensor, TooManyImages
from shared.quoting import listed, printable
from shared.settings import Datatype
from shared.upstream.codecs import MAX_RANK, EncodedImages, FloatTensor, Output, Outputs

# How base64 of JPEG, PNG, GIF, WebP and HEIF starts.
_BASE64_IMAGES = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "AAAAHGZ0eX", "AAAAGGZ0eX", "AAAAIGZ0eX", "AAAAJGZ0eX")
# The part of a body in which the JSON of a binary tensor is recognized.
_HEAD = 10_000

HEADER_LENGTH = "inference-header-content-length"
_LENGTH = struct.Struct("<I")
_FLOAT_BYTES = 4
_BYTES = {Datatype.FP32: 4, Datatype.FP16: 2, Datatype.UINT8: 1}
_MAX_SIZE = 2**63


class InferRequest(NamedTuple):
    """A parsed body. ``classes`` is how many to return for each row, 0 for the whole output.

    Of a model with any number of outputs, ``wanted`` are the names of the requested ones, and whether each is wanted in
    binary form; empty for all of them.
    """

    tensor: EncodedImages | FloatTensor
    id: str | None
    binary: bool
    classes: int
    wanted: Mapping[str, bool] | None = None


class InferResponse(NamedTuple):
    """A response's body, and the headers that describe it."""

    body: bytes
    mimetype: str
    headers: Mapping[str, str]


def parse_infer(
    body: bytes,
    header_length: str,
    input_name: str,
    output_name: str | None,
    max_rows: int,
    datatype: Datatype = Datatype.FP32,
) -> InferRequest:
    """The tensor of an infer request.

    Args:
        body: the JSON, and the tensor's bytes after it.
        header_length: the header Inference-Header-Content-Length; empty where there is none.
        input_name: the only input there is.
        output_name: the only output there is; None of a model with any number of them.
        max_rows: the most images that a request may have.
        datatype: the model's own; numbers of it are accepted beside those of FP32.

    Raises:
        InvalidTensor: the body has another form, or its values are not a tensor.
        TooManyImages: it has more than ``max_rows`` images.
    """
    text, data = _split(body, header_length)
    try:
        document = parse_object(text)
    except InvalidTensor:
        if not header_length and b"binary_data_size" in bytes(body[:_HEAD]):
            raise InvalidTensor(
                "Bytes follow the JSON, but the header Inference-Header-Content-Length, its length, is missing."
            ) from None
        raise
    given = document.get("id")
    wanted: Mapping[str, bool] | None = None
    if output_name is None:
        binary, wanted, classes = *_requested_outputs(document), 0
    else:
        binary, classes = _requested_output(document, output_name)
    return InferRequest(
        tensor=_tensor(
            _only_input(document, input_name), data, input_name, _content_type(document), max_rows, datatype
        ),
        id=None if given is None else parse_name(given, "'id'"),
        binary=binary,
        classes=classes,
        wanted=wanted,
    )


def json_size(body: bytes, header_length: str) -> int:
    """How many bytes of a body are JSON, as far as the header says; tensors after it cost nothing to parse."""
    return min(int(header_length), len(body)) if _is_length(header_length) else len(body)


def inferred(
    output: Output, classes: Sequence[Sequence[str]] | None, request: InferRequest, *, model: str, output_name: str
) -> InferResponse:
    """The response to an infer request: the output itself, or the classes of each row."""
    head = _head(output.version, request, model)
    if classes is None:
        entry = {"name": output_name, "datatype": "FP32", "shape": list(output.values.shape)}
    else:
        entry = {"name": output_name, "datatype": "BYTES", "shape": [len(classes), len(classes[0])]}
    if not request.binary:
        data = contiguous(output).reshape(-1) if classes is None else [text for row in classes for text in row]
        return InferResponse(to_json({**head, "outputs": [{**entry, "data": data}]}), "application/json", {})
    content = output.values.astype("<f4", copy=False).tobytes() if classes is None else _elements(classes)
    text = to_json({**head, "outputs": [{**entry, "parameters": {"binary_data_size": len(content)}}]})
    headers = {"Inference-Header-Content-Length": str(len(text))}
    return InferResponse(text + content, "application/octet-stream", headers)


def inferred_all(outputs: Outputs, request: InferRequest, *, model: str) -> InferResponse:
    """The response to an infer request: all outputs, or the wanted ones, in their order.

    Raises:
        InvalidTensor: there is no such output.
    """
    found = {one.name: one for one in outputs.tensors}
    wanted = request.wanted or dict.fromkeys(found, request.binary)
    for name in wanted:
        if name not in found:
            raise InvalidTensor(f"'outputs' names {_shown(name)}; the model's outputs are: {listed(sorted(found))}.")
    entries, contents = [], []
    for name, binary in wanted.items():
        one = found[name]
        if not binary:
            entries.append(arrays.described(one))
            continue
        numbers = isinstance(one.values, np.ndarray)
        contents.append(np.asarray(one.values).tobytes() if numbers else _lengths_and(one.values))  # type: ignore[arg-type]
        head = {"name": name, "datatype": one.datatype, "shape": list(one.shape)}
        entries.append({**head, "parameters": {"binary_data_size": len(contents[-1])}})
    text = to_json({**_head(outputs.version, request, model), "outputs": entries})
    if not contents:
        return InferResponse(text, "application/json", {})
    headers = {"Inference-Header-Content-Length": str(len(text))}
    return InferResponse(b"".join((text, *contents)), "application/octet-stream", headers)


def _head(version: int | str | None, request: InferRequest, model: str) -> dict[str, object]:
    head: dict[str, object] = {"model_name": model}
    if version is not None:
        head["model_version"] = str(version)
    if request.id is not None:
        head["id"] = request.id
    return head


def _split(body: bytes, header_length: str) -> tuple[memoryview, memoryview]:
    """The JSON, and what follows it."""
    view = memoryview(body)
    if not header_length:
        return view, view[len(view) :]
    if not _is_length(header_length) or not 0 < int(header_length) <= len(view):
        raise InvalidTensor(
            f"Inference-Header-Content-Length is {printable(header_length, 40)!r}; "
            f"the length of the JSON is expected, from 1 to the body's {len(view)} bytes."
        )
    return view[: int(header_length)], view[int(header_length) :]


def _is_length(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 12


def _only_input(document: Mapping[str, Any], input_name: str) -> dict[str, Any]:
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise InvalidTensor(f"'inputs' is not a list with a tensor; {input_name!r} is expected in it.")
    for one in inputs:
        if not isinstance(one, dict):
            raise InvalidTensor(f"'inputs' contains {type_name(one)}; objects are expected.")
        if one.get("name") != input_name:
            raise InvalidTensor(f"'inputs' names {_shown(one.get('name'))}; {input_name!r} is the only input.")
    if len(inputs) > 1:
        raise InvalidTensor(f"'inputs' names {input_name!r} more than once.")
    found: dict[str, Any] = inputs[0]
    return found


def _requested_output(document: Mapping[str, Any], output_name: str) -> tuple[bool, int]:
    """Whether the output is requested in binary form, and how many classes of it."""
    binary = _flag(_parameters(document), "binary_data_output", default=False)
    outputs = document.get("outputs")
    outputs = [] if outputs is None else outputs
    if not isinstance(outputs, list) or len(outputs) > 1:
        raise InvalidTensor(f"'outputs' is not a list with at most one output; {output_name!r} is the only one.")
    if not outputs:
        return binary, 0
    one = outputs[0]
    name = one.get("name") if isinstance(one, dict) else one
    if not isinstance(one, dict) or name != output_name:
        raise InvalidTensor(f"'outputs' names {_shown(name)}; {output_name!r} is the only output.")
    parameters = _parameters(one)
    classes = _size(parameters.get("classification", 0))
    if classes is None:
        raise InvalidTensor("'classification' is not a whole number of classes.")
    return _flag(parameters, "binary_data", default=binary), classes


def _requested_outputs(document: Mapping[str, Any]) -> tuple[bool, dict[str, bool]]:
    """Whether outputs are requested in binary form, and the names of those that are, each with its own form."""
    binary, wanted = _flag(_parameters(document), "binary_data_output", default=False), dict[str, bool]()
    outputs = document.get("outputs")
    for one in _checked_list([] if outputs is None else outputs):
        name, parameters = parse_name(one.get("name"), "The name of an output"), _parameters(one)
        if name in wanted:
            raise InvalidTensor(f"'outputs' names {_shown(name)} more than once.")
        if "classification" in parameters:
            raise InvalidTensor("'classification' is for services that return classes; this one has OUTPUT=raw.")
        wanted[name] = _flag(parameters, "binary_data", default=binary)
    return binary, wanted


def _checked_list(outputs: object) -> list[dict[str, Any]]:
    if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs):
        raise InvalidTensor("'outputs' is not a list of objects with a name each.")
    return outputs


def _content_type(owner: Mapping[str, Any]) -> object:
    return _parameters(owner).get("content_type")


def _tensor(
    one: Mapping[str, Any], data: memoryview, input_name: str, content_type: object, max_rows: int, own: Datatype
) -> EncodedImages | FloatTensor:
    """``content_type`` is the request's, for an input without one of its own; ``own`` the model's datatype."""
    shape, datatype, parameters = _shape(one, input_name), one.get("datatype"), _parameters(one)
    if datatype not in ("BYTES", "FP32", own):
        others = f", {own}" if own not in {Datatype.BYTES, Datatype.FP32} else ""
        raise InvalidTensor(
            f"Input {input_name!r} has the datatype {_shown(datatype)}; BYTES (files){others} or FP32 is expected."
        )
    content = _content(one, parameters, data, input_name)
    if datatype != "BYTES" and datatype == own and isinstance(content, memoryview):
        _check_length(len(content), math.prod(shape) * _BYTES[own], shape, input_name, own)
        return FloatTensor(shape, content, own)
    if datatype != "BYTES":
        numbers = content if isinstance(content, memoryview) else _listed_numbers(content, shape, input_name)
        _check_length(len(numbers), math.prod(shape) * _FLOAT_BYTES, shape, input_name)
        return FloatTensor(shape, numbers)
    is_base64 = parameters.get("content_type", content_type) == "base64"
    # A column of images counts as a row of them: clients that always send a batch use [N, 1].
    if shape[0] != math.prod(shape):
        raise InvalidTensor(f"Input {input_name!r} of BYTES has the shape {list(shape)}; [N] is expected.")
    found = _sliced(content, input_name) if isinstance(content, memoryview) else _listed_files(content, is_base64)
    # One more than are wanted shows that there are too many.
    files = list(islice(found, min(shape[0], max_rows) + 1))
    if len(files) > max_rows:
        raise TooManyImages(f"The request has more than {max_rows} images.", limit=max_rows)
    if len(files) != shape[0]:
        count = f"{len(files)} elements" if len(files) < shape[0] else "more elements"
        raise InvalidTensor(f"Input {input_name!r} has the shape {list(shape)}, but {count}.")
    return EncodedImages(files)


def _content(
    one: Mapping[str, Any], parameters: Mapping[str, Any], data: memoryview, input_name: str
) -> memoryview | list[Any] | Numbers:
    """The values: all the bytes after the JSON, or a list in it."""
    size, listed = parameters.get("binary_data_size"), one.get("data")
    if size is None:
        if not isinstance(listed, list | Numbers):
            raise InvalidTensor(f"Input {input_name!r} has no list 'data', and no parameter 'binary_data_size'.")
        if data:
            raise InvalidTensor(f"{len(data)} bytes follow the JSON, but no input has a 'binary_data_size'.")
        return listed
    if listed is not None:
        raise InvalidTensor(f"Input {input_name!r} has both 'data' and 'binary_data_size'.")
    if _size(size) != len(data):
        raise InvalidTensor(
            f"Input {input_name!r} has a 'binary_data_size' of {_shown(size)}; {len(data)} bytes follow the JSON."
        )
    return data


def _listed_numbers(data: list[Any] | Numbers, shape: tuple[int, ...], input_name: str) -> memoryview:
    """Numbers in nested lists of the tensor's shape, or in one flat list."""
    found, flat = dense(data)
    if found not in (shape, (math.prod(shape),)):
        raise InvalidTensor(f"Input {input_name!r} has the shape {list(shape)}, but 'data' has {list(found)}.")
    return packed(flat)


def _listed_files(data: list[Any] | Numbers, is_base64: bool) -> Iterator[bytes]:
    _, flat = dense(data)
    if isinstance(flat, Numbers):
        raise InvalidTensor("Element 0 of BYTES is a number; a string is expected.")
    for index, text in enumerate(flat):
        if not isinstance(text, str):
            raise InvalidTensor(f"Element {index} of BYTES is {type_name(text)}; a string is expected.")
        try:
            file = from_base64(text) if is_base64 else text.encode("utf-8", "replace")
        except ValueError:
            raise InvalidTensor(f"Element {index} of BYTES is not base64.") from None
        if not is_base64 and text.startswith(_BASE64_IMAGES):
            raise InvalidTensor(
                f"Element {index} of BYTES is an image in base64: add the parameter 'content_type' with 'base64',"
                " to the input or to the request."
            )
        yield file


def _sliced(data: memoryview, input_name: str) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        start = at + _LENGTH.size
        if start > len(data) or start + (size := _LENGTH.unpack_from(data, at)[0]) > len(data):
            raise InvalidTensor(
                f"Input {input_name!r} ends within an element: each element of BYTES is its length in four "
                "bytes (little-endian) and then itself."
            )
        at = start + size
        yield bytes(data[start:at])


def _elements(classes: Sequence[Sequence[str]]) -> bytes:
    return _lengths_and([text.encode() for row in classes for text in row])


def _lengths_and(elements: Sequence[bytes]) -> bytes:
    return b"".join(part for one in elements for part in (_LENGTH.pack(len(one)), one))


def _shape(one: Mapping[str, Any], input_name: str) -> tuple[int, ...]:
    shape = one.get("shape")
    if not isinstance(shape, list) or not shape:
        raise InvalidTensor(f"Input {input_name!r} has no 'shape', a list of sizes.")
    # Before the sizes are multiplied.
    if len(shape) > MAX_RANK:
        raise InvalidTensor(f"Input {input_name!r} has {len(shape)} dimensions; at most {MAX_RANK} are expected.")
    sizes = [_size(value) for value in shape]
    if None in sizes:
        raise InvalidTensor(f"Input {input_name!r} has a 'shape' that is not a list of sizes.")
    return tuple(size for size in sizes if size is not None)


def _size(value: object) -> int | None:
    """A whole number from 0 in 63 bits, or None; ``3.0`` is one, as in JSON Schema (Core, section 4.2.3)."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < _MAX_SIZE else None


def _check_length(
    found: int, expected: int, shape: Sequence[int], input_name: str, datatype: Datatype = Datatype.FP32
) -> None:
    if found != expected:
        raise InvalidTensor(
            f"Input {input_name!r} of {datatype} and the shape {list(shape)} needs {expected} bytes; there are {found}."
        )


def _parameters(owner: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = owner.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidTensor(f"'parameters' is {type_name(parameters)}; an object is expected.")
    if "shared_memory_region" in parameters:
        raise InvalidTensor("Shared memory is not supported: send the tensors in the body.")
    return parameters


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidTensor(f"{name!r} is {type_name(value)}; true or false is expected.")
    return value


def _shown(value: object) -> str:
    """A value, shortened for a message."""
    if isinstance(value, str):
        return repr(printable(value, 40))
    return str(value) if type(value) is int and abs(value) < _MAX_SIZE else type_name(value)
