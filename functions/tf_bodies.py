"""The bodies of TensorFlow Serving's REST API: JSON into tensors and back.

Rows (``instances``) and columns (``inputs``) are read as the server itself does
(https://www.tensorflow.org/tfx/serving/api_rest#predict_api), for a model with one input. What an input is, shows in
its values: numbers make ``DT_FLOAT``, texts and ``{"b64": ...}`` make ``DT_STRING``.
"""

import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from functions.doors import parsed, plain, word, written
from shared.scoring.model_types import Files, Floats, Signatures, TensorRefused, VersionStatus
from shared.scoring.tensors import Output
from shared.scoring.values import dense, named, packed

type Form = Literal["row", "column"]


class Asked(NamedTuple):
    """What a body asks for; ``signature`` is empty where it names none."""

    tensor: Files | Floats
    form: Form
    signature: str


def read(body: bytes, input_name: str) -> Asked:
    """The tensor of a predict request.

    Raises:
        TensorRefused: the body is of another form, or its values make no tensor.
    """
    document = parsed(body)
    signature = word(document.get("signature_name", ""), "'signature_name'")
    if ("instances" in document) is ("inputs" in document):
        raise TensorRefused("The body must have either 'instances' (rows) or 'inputs' (columns).")
    if "instances" in document:
        return Asked(_tensor(_rows(document["instances"], input_name), input_name), "row", signature)
    return Asked(_tensor(_column(document["inputs"], input_name), input_name), "column", signature)


def write(output: Output, form: Form) -> bytes:
    """The answer to a predict request; a single output has no name in it."""
    return written({"predictions" if form == "row" else "outputs": plain(output)})


def write_status(versions: Sequence[VersionStatus]) -> bytes:
    """The answer to a question for the model's status: a GetModelStatusResponse in protobuf's JSON form."""
    return written(
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


def write_signatures(told: Signatures) -> bytes:
    """The answer to a question for metadata: a GetModelMetadataResponse in protobuf's JSON form."""
    return written(
        {"model_spec": told.spec, "metadata": {"signature_def": {"signature_def": told.definitions}}},
    )


def _rows(instances: object, input_name: str) -> list[Any]:
    """The input's values: each row is one, or an object that names it."""
    if not isinstance(instances, list) or not instances:
        raise TensorRefused("'instances' is not a list with at least one row.")
    by_name = _names_inputs(instances[0])
    values = []
    for index, row in enumerate(instances):
        if _names_inputs(row) is not by_name:
            raise TensorRefused(f"Row {index} of 'instances' is {named(row)}, other than the first one.")
        if by_name and row.keys() != {input_name}:
            raise TensorRefused(f"Row {index} of 'instances' names {_list(row)}; {input_name!r} alone is expected.")
        values.append(row[input_name] if by_name else row)
    return values


def _column(inputs: object, input_name: str) -> object:
    """The input's value: by itself, or in an object that names it; other names are passed over, as the server does."""
    if not isinstance(inputs, dict) or not _names_inputs(inputs):
        return inputs
    if input_name not in inputs:
        raise TensorRefused(f"'inputs' names {_list(inputs)}; {input_name!r} is expected.")
    return inputs[input_name]


def _names_inputs(value: object) -> bool:
    """Whether it is an object of named inputs, and not a binary value."""
    return isinstance(value, dict) and not _is_binary(value)


def _is_binary(value: Mapping[str, object]) -> bool:
    return len(value) == 1 and isinstance(value.get("b64"), str)


def _tensor(values: object, input_name: str) -> Files | Floats:
    shape, flat = dense(values)
    if not flat or not isinstance(flat[0], str | dict):
        return Floats(shape, packed(flat))
    if len(shape) != 1:
        raise TensorRefused(
            f"Input {input_name!r} holds images and has the shape [{','.join(map(str, shape))}]; [N] is expected."
        )
    return Files([_bytes(value, index) for index, value in enumerate(flat)])


def _bytes(value: object, index: int) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if not isinstance(value, dict) or not _is_binary(value):
        raise TensorRefused(f'Value {index} is {named(value)}; {{"b64": "<base64 of the file>"}} is expected.')
    try:
        return binascii.a2b_base64(value["b64"], strict_mode=True)
    except ValueError:
        return _lenient(value["b64"], index)


def _lenient(text: str, index: int) -> bytes:
    """Base64 with line breaks, or without the padding at its end: the server takes both."""
    try:
        bare = "".join(text.split()).rstrip("=")
        return binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
    except ValueError:
        raise TensorRefused(f"The 'b64' of value {index} is not base64.") from None


def _list(names: Mapping[str, object]) -> str:
    return ", ".join(repr(name[:40]) for name in list(names)[:5]) or "nothing"
