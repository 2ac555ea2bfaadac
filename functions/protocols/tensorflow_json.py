"""The JSON bodies of TensorFlow Serving's REST API.

Rows (``instances``) and columns (``inputs``) are parsed as the server itself does
(https://www.tensorflow.org/tfx/serving/api_rest#predict_api), for a model with one input. The values determine the
datatype: numbers are ``DT_FLOAT``, strings and ``{"b64": ...}`` are ``DT_STRING``.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from functions.http import arrays
from functions.protocols.endpoint import contiguous, parse_name, to_json
from functions.protocols.json_documents import Numbers, parse_object
from functions.protocols.json_tensors import dense, from_base64, packed, type_name
from shared.errors import InvalidTensor, TooManyImages
from shared.quoting import listed
from shared.upstream.codecs import EncodedImages, FloatTensor, Output, Outputs, Signatures, Tensor, VersionStatus

type Form = Literal["row", "column"]


class PredictRequest(NamedTuple):
    """A parsed body; ``signature`` is empty where it names none."""

    tensor: EncodedImages | FloatTensor
    form: Form
    signature: str


def parse_predict(body: bytes, input_name: str, max_rows: int) -> PredictRequest:
    """The tensor of a predict request.

    Raises:
        InvalidTensor: the body has another form, or its values are not a tensor.
        TooManyImages: it has more than ``max_rows`` images.
    """
    document = parse_object(body)
    signature = parse_name(document.get("signature_name", ""), "'signature_name'")
    if ("instances" in document) is ("inputs" in document):
        raise InvalidTensor("The body must have either 'instances' (rows) or 'inputs' (columns).")
    if "instances" in document:
        rows = _rows(document["instances"], input_name)
        return PredictRequest(_tensor(rows, input_name, max_rows), "row", signature)
    column = _column(document["inputs"], input_name)
    return PredictRequest(_tensor(column, input_name, max_rows), "column", signature)


def predictions(output: Output, form: Form) -> bytes:
    """The response to a predict request; a single output has no name in it."""
    return to_json({"predictions" if form == "row" else "outputs": contiguous(output)})


def all_outputs(outputs: Outputs, form: Form) -> bytes:
    """As :func:`predictions`, of several outputs: each row, or the whole, is an object that names them.

    Raises:
        InvalidTensor: rows are requested, and the outputs have none in common.
    """
    if form == "column":
        columns = {one.name: arrays.described(one, flat=False)["data"] for one in outputs.tensors}
        return to_json({"outputs": columns if len(columns) > 1 else next(iter(columns.values()))})
    counts = {one.shape[:1] for one in outputs.tensors}
    if len(counts) > 1 or () in counts:
        raise InvalidTensor("The outputs have no rows in common: send 'inputs' in place of 'instances'.")
    ((count,),) = counts
    rows = [
        {one.name: arrays.described(one, flat=False)["data"] for one in _row(outputs, index)} for index in range(count)
    ]
    return to_json({"predictions": rows if len(outputs.tensors) > 1 else [next(iter(row.values())) for row in rows]})


def _row(outputs: Outputs, index: int) -> list[Tensor]:
    """One row of each output, without the dimension of the rows."""
    found = []
    for one in outputs.tensors:
        size = math.prod(one.shape[1:])
        values = one.values[index] if isinstance(one.values, np.ndarray) else one.values[index * size :][:size]
        found.append(one._replace(shape=one.shape[1:], values=values))
    return found


def status(versions: Sequence[VersionStatus]) -> bytes:
    """The model's status: a GetModelStatusResponse in protobuf's JSON form."""
    return to_json(
        {
            "model_version_status": [
                {
                    "version": str(one.version),
                    "state": one.state,
                    "status": {"error_code": one.error_code, "error_message": one.error_message},
                }
                for one in versions
            ]
        }
    )


def metadata(signatures: Signatures) -> bytes:
    """The model's metadata: a GetModelMetadataResponse in protobuf's JSON form."""
    definitions = {"signature_def": {"signature_def": signatures.definitions}}
    return to_json({"model_spec": signatures.spec, "metadata": definitions})


def _rows(instances: object, input_name: str) -> list[Any] | Numbers:
    """The input's values: each row is a value, or an object that names it."""
    if isinstance(instances, Numbers):
        return instances
    if not isinstance(instances, list) or not instances:
        raise InvalidTensor("'instances' is not a list with at least one row.")
    by_name = _names_inputs(instances[0])
    values = []
    for index, row in enumerate(instances):
        if _names_inputs(row) is not by_name:
            raise InvalidTensor(f"Row {index} of 'instances' is {type_name(row)}, unlike the first one.")
        if by_name and row.keys() != {input_name}:
            named = listed(row) or "nothing"
            raise InvalidTensor(f"Row {index} of 'instances' names {named}; only {input_name!r} is expected.")
        values.append(row[input_name] if by_name else row)
    return values


def _column(inputs: object, input_name: str) -> object:
    """The input's value: by itself, or in an object that names it; other names are ignored, as the server does."""
    if not isinstance(inputs, dict) or not _names_inputs(inputs):
        return inputs
    if input_name not in inputs:
        raise InvalidTensor(f"'inputs' names {listed(inputs) or 'nothing'}; {input_name!r} is expected.")
    return inputs[input_name]


def _names_inputs(value: object) -> bool:
    """Whether it is an object of named inputs, not a binary value."""
    return isinstance(value, dict) and not _is_binary(value)


def _is_binary(value: Mapping[str, object]) -> bool:
    return len(value) == 1 and isinstance(value.get("b64"), str)


def _tensor(values: object, input_name: str, max_rows: int) -> EncodedImages | FloatTensor:
    shape, flat = dense(values)
    if isinstance(flat, Numbers) or not flat or not isinstance(flat[0], str | dict):
        return FloatTensor(shape, packed(flat))
    if len(shape) != 1:
        raise InvalidTensor(
            f"Input {input_name!r} contains images and has the shape [{','.join(map(str, shape))}]; [N] is expected."
        )
    if len(flat) > max_rows:
        raise TooManyImages(f"The request has more than {max_rows} images.", limit=max_rows)
    return EncodedImages([_bytes(value, index) for index, value in enumerate(flat)])


def _bytes(value: object, index: int) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if not isinstance(value, dict) or not _is_binary(value):
        raise InvalidTensor(f'Value {index} is {type_name(value)}; {{"b64": "<base64 of the file>"}} is expected.')
    try:
        return from_base64(value["b64"])
    except ValueError:
        return _lenient(value["b64"], index)


def _lenient(text: str, index: int) -> bytes:
    """Base64 with line breaks, or without the padding at its end: the server accepts both."""
    try:
        bare = "".join(text.split()).rstrip("=")
        return from_base64(bare + "=" * (-len(bare) % 4))
    except ValueError:
        raise InvalidTensor(f"The 'b64' of value {index} is not base64.") from None
