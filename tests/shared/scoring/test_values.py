"""Tensors in JSON: nested lists, their shape and their numbers."""

import numpy as np
import pytest

from shared.scoring.model_types import TensorRefused
from shared.scoring.values import MAX_RANK, dense, packed


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 1), (2, 3), (1, 2, 1, 3), (4, 3, 2, 1)])
def test_nested_lists_have_the_shape_that_numpy_sees(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)

    found, flat = dense(array.tolist())

    assert found == shape
    assert list(flat) == array.ravel().tolist()


@pytest.mark.parametrize(
    ("values", "shape"), [([], (0,)), ([[]], (1, 0)), ([[], []], (2, 0)), ("text", ()), ([{"a": [1]}], (1,))]
)
def test_lists_without_numbers(values: object, shape: tuple[int, ...]) -> None:
    assert dense(values)[0] == shape


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([[1], [2, 3]], "At depth 2 there is a list of 2 values; the first there has 1."),
        ([[1], 2], "At depth 2 there is a number where other values are lists."),
        ([[1], None], "At depth 2 there is null where other values are lists."),
        ([1, [2]], "At depth 2 there is a list where other values are none."),
        ([[[1]], [2]], "At depth 3 there is a number where other values are lists."),
    ],
)
def test_ragged_lists_are_refused_with_the_place(values: object, words: str) -> None:
    with pytest.raises(TensorRefused) as caught:
        dense(values)

    assert caught.value.detail == words


def test_lists_may_be_as_deep_as_a_tensor_may_and_no_deeper() -> None:
    values: object = 1.0
    for _ in range(MAX_RANK):
        values = [values]

    assert dense(values)[0] == (1,) * MAX_RANK
    with pytest.raises(TensorRefused, match="nested more than"):
        dense([values])


def test_numbers_become_little_endian_32_bit_floats() -> None:
    numbers = [0, -1, 1.5, 0.1, 3.4e38, 1e-46, float("nan"), float("inf")]

    got = np.frombuffer(packed(numbers), "<f4")

    assert np.array_equal(got, np.array(numbers, np.float32), equal_nan=True)
    assert not packed([]).nbytes


@pytest.mark.parametrize("value", ["1", True, None, {}, 3.5e38, 10**400])
def test_what_is_no_32_bit_float_is_refused(value: object) -> None:
    with pytest.raises(TensorRefused):
        packed([1.0, value])
