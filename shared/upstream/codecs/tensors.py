"""All outputs of a model as they are: named tensors of any datatype, and how those of several images are divided."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.errors import InvalidTensor, ServiceAnswerInvalid
from shared.quoting import printable
from shared.upstream.codecs.interface import MAX_CLASSES, MAX_RANK, MAX_VALUES, Outputs, Tensor

# The datatypes by the Open Inference Protocol's names, as they are on the wire. BF16 is the upper half of FP32.
FORMS = {
    "BOOL": "?",
    **{f"{sign}INT{8 * size}": f"<{sign[:1].lower() or 'i'}{size}" for sign in ("", "U") for size in (1, 2, 4, 8)},
    "FP16": "<f2",
    "BF16": "<u2",
    "FP32": "<f4",
    "FP64": "<f8",
}
BYTES = "BYTES"
# Each string is an object.
MAX_STRINGS = MAX_CLASSES
_MAX_OUTPUTS, _MAX_NAME = 100, 200


def tensor(name: str, datatype: str, shape: Sequence[int], content: bytes | Sequence[bytes]) -> Tensor:
    """A tensor of its content, the bytes of numbers, or strings.

    Raises:
        ServiceAnswerInvalid: they do not fit each other, or exceed the bounds.
    """
    name, sizes = printable(name, _MAX_NAME), tuple(shape)
    if len(sizes) > MAX_RANK:
        raise ServiceAnswerInvalid(f"The output {name!r} has {len(sizes)} dimensions; {MAX_RANK} are accepted.")
    count = math.prod(sizes) if not sizes or min(sizes) >= 0 else -1
    if not isinstance(content, bytes):
        found, fits = f"{len(content)} strings", len(content) == count <= MAX_STRINGS
        values: npt.NDArray[Any] | Sequence[bytes] = content
    elif datatype not in FORMS:
        raise ServiceAnswerInvalid(f"The output {name!r} has the unknown datatype {printable(datatype, 20)!r}.")
    else:
        form = np.dtype(FORMS[datatype])
        found, fits = f"{len(content)} bytes", len(content) == count * form.itemsize and count <= MAX_VALUES
        values = np.frombuffer(content, form).reshape(sizes) if fits else ()
    if not fits:
        raise ServiceAnswerInvalid(
            f"The output {name!r} has {found}, which do not fit {datatype} {list(sizes)}, or exceed the {MAX_VALUES} "
            f"values and {MAX_STRINGS} strings that are accepted."
        )
    return Tensor(name, datatype, sizes, values)


def outputs(found: Sequence[Tensor], wanted: str, version: int | str | None, *, batched: bool) -> Outputs:
    """The outputs of a response: all, or the one that is wanted; with a dimension of the images in any case.

    Raises:
        ServiceAnswerInvalid: there is none, or there are too many.
    """
    chosen = [one for one in found if not wanted or one.name == wanted]
    if not chosen:
        raise ServiceAnswerInvalid(f"The response has no output{f' {wanted!r}' if wanted else ''}.")
    if len(chosen) > _MAX_OUTPUTS:
        raise ServiceAnswerInvalid(f"The response has {len(chosen)} outputs; {_MAX_OUTPUTS} are accepted.")
    _check_total(chosen)
    if not batched:
        chosen = [_shaped(one, (1, *one.shape)) for one in chosen]
    return Outputs(tuple(chosen), version)


def rows(found: Outputs, count: int) -> list[Outputs]:
    """The outputs of each image of a call.

    Raises:
        ServiceAnswerInvalid: an output's first dimension is not that of the images.
    """
    if count == 1:
        return [found]
    for one in found.tensors:
        if one.shape[:1] != (count,):
            raise ServiceAnswerInvalid(
                f"The output {one.name!r} has the shape {list(one.shape)} for {count} images: they cannot be divided. "
                "Send one image in a request, or set MAX_BATCH to 1."
            )
    return [Outputs(tuple(_part(one, index, count) for one in found.tensors), found.version) for index in range(count)]


def joined(found: Sequence[Outputs]) -> Outputs:
    """The outputs of several calls for one image each, as those of one call for all.

    Raises:
        InvalidTensor: they differ in more than their values.
        ServiceAnswerInvalid: they are too many.
    """
    if len(found) == 1:
        return found[0]
    first = found[0]
    kinds = {tuple((one.name, one.datatype, one.shape) for one in outputs_.tensors) for outputs_ in found}
    if len(kinds) > 1 or any(one.shape[:1] != (1,) for one in first.tensors):
        raise InvalidTensor("The model's outputs have another shape for each image: send one image in a request.")
    _check_total([one for outputs_ in found for one in outputs_.tensors])
    together = [_stacked([outputs_.tensors[index] for outputs_ in found]) for index in range(len(first.tensors))]
    return Outputs(tuple(together), first.version)


def strings(content: bytes, name: str) -> list[bytes]:
    """The elements of raw BYTES: each after its length in four bytes, little-endian.

    Raises:
        ServiceAnswerInvalid: the content ends within one, or there are too many.
    """
    found, at = list[bytes](), 0
    while at < len(content):
        end = at + 4 + int.from_bytes(content[at : at + 4], "little")
        if end > len(content) or at + 4 > len(content) or len(found) == MAX_STRINGS:
            raise ServiceAnswerInvalid(f"The strings of the output {printable(name, _MAX_NAME)!r} cannot be read.")
        found.append(content[at + 4 : end])
        at = end
    return found


def _part(one: Tensor, index: int, count: int) -> Tensor:
    shape = (1, *one.shape[1:])
    if isinstance(one.values, np.ndarray):
        return one._replace(shape=shape, values=one.values[index : index + 1])
    size = len(one.values) // count
    return one._replace(shape=shape, values=one.values[index * size : (index + 1) * size])


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    first, shape = parts[0], (len(parts), *parts[0].shape[1:])
    if isinstance(first.values, np.ndarray):
        return first._replace(shape=shape, values=np.concatenate([np.asarray(one.values) for one in parts]))
    return first._replace(shape=shape, values=[value for one in parts for value in one.values])


def _shaped(one: Tensor, shape: tuple[int, ...]) -> Tensor:
    values = one.values.reshape(shape) if isinstance(one.values, np.ndarray) else one.values
    return one._replace(shape=shape, values=values)


def _check_total(found: Sequence[Tensor]) -> None:
    values = sum(math.prod(one.shape) for one in found)
    if values > MAX_VALUES:
        raise ServiceAnswerInvalid(
            f"The outputs have {values} values in all; {MAX_VALUES} are accepted. OUTPUT_NAME chooses one of them."
        )
