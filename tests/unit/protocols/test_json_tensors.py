"""Tensors in JSON: the shape and the numbers of nested lists."""

import numpy as np
import pytest

from functions.protocols.json_documents import Numbers
from functions.protocols.json_tensors import dense, packed
from shared.errors import InvalidTensor
from shared.upstream.codecs import MAX_RANK


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 1), (2, 3), (1, 2, 1, 3), (4, 3, 2, 1)])
def test_nested_lists_have_the_same_shape_as_in_numpy(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)

    actual, flat = dense(array.tolist())

    assert actual == shape
    assert not isinstance(flat, Numbers)
    assert list(flat) == array.ravel().tolist()


@pytest.mark.parametrize(
    ("values", "shape"), [([], (0,)), ([[]], (1, 0)), ([[], []], (2, 0)), ("text", ()), ([{"a": [1]}], (1,))]
)
def test_lists_without_numbers_have_a_shape(values: object, shape: tuple[int, ...]) -> None:
    assert dense(values)[0] == shape


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        ([[1], [2, 3]], "At depth 2 there is a list of 2 values; the first there has 1."),
        ([[1], 2], "At depth 2 there is a number where other values are lists."),
        ([[1], None], "At depth 2 there is null where other values are lists."),
        ([1, [2]], "At depth 2 there is a list where other values are not lists."),
        ([[[1]], [2]], "At depth 3 there is a number where other values are lists."),
    ],
)
def test_the_error_of_a_ragged_list_names_the_depth(values: object, detail: str) -> None:
    with pytest.raises(InvalidTensor) as caught:
        dense(values)

    assert caught.value.detail == detail


def test_the_depth_of_lists_is_limited_to_the_rank_of_tensors() -> None:
    values: object = 1.0
    for _ in range(MAX_RANK):
        values = [values]

    assert dense(values)[0] == (1,) * MAX_RANK
    with pytest.raises(InvalidTensor, match="nested more than"):
        dense([values])


def test_numbers_become_little_endian_32_bit_floats() -> None:
    numbers = [0, -1, 1.5, 0.1, 3.4e38, 1e-46, float("nan"), float("inf")]

    floats = np.frombuffer(packed(numbers), "<f4")

    assert np.array_equal(floats, np.array(numbers, np.float32), equal_nan=True)
    assert not packed([]).nbytes


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ("1", "There is a string where a number is expected."),
        (True, "There is a boolean where a number is expected."),
        (None, "There is null where a number is expected."),
        ({}, "There is an object where a number is expected."),
        (3.5e38, "There is a number too large for a 32-bit float."),
        (10**400, "There is a number too large for a 32-bit float."),
    ],
)
def test_values_that_are_not_32_bit_floats_are_rejected(value: object, detail: str) -> None:
    with pytest.raises(InvalidTensor) as caught:
        packed([1.0, value])

    assert caught.value.detail == detail
