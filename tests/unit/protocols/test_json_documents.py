"""Large JSON documents: what is parsed equals what a parser makes of it, and objects are built of small ones only."""

import json
import math
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from functions.protocols import json_documents
from functions.protocols.endpoint import parsed
from functions.protocols.json_documents import SMALL, Numbers, parse_object
from functions.protocols.json_tensors import from_base64
from functions.protocols.open_inference_json import parse_infer
from functions.protocols.tensorflow_json import parse_predict
from shared.errors import InvalidTensor, TooManyImages
from shared.upstream.codecs import FloatTensor

IMAGES = np.random.default_rng(3).random((2, 60, 70, 3), np.float32)
BOMB = b'{"instances":[' + b"[]," * 3_000_000 + b"[]]}"


def values(numbers: Any) -> Any:
    """Numbers as nested lists, anywhere in a document."""
    if isinstance(numbers, Numbers):
        return np.frombuffer(numbers.content, "<f4").reshape(numbers.shape).tolist()
    if isinstance(numbers, dict):
        return {name: values(one) for name, one in numbers.items()}
    return [values(one) for one in numbers] if isinstance(numbers, list) else numbers


def tensor_of(document: Any, **options: Any) -> FloatTensor:
    text = json.dumps(document, **options).encode()
    assert len(text) > SMALL
    found = parse_predict(text, "images", 16).tensor
    assert isinstance(found, FloatTensor)
    return found


@pytest.mark.parametrize("options", [{}, {"separators": (",", ":")}, {"indent": 1}], ids=["usual", "compact", "lines"])
@pytest.mark.parametrize("form", ["rows", "named rows", "column", "named column"])
def test_images_as_numbers(options: dict[str, Any], form: str) -> None:
    images = IMAGES.tolist()
    document: dict[str, Any] = {
        "rows": {"instances": images},
        "named rows": {"instances": [{"images": image} for image in images], "signature_name": ""},
        "column": {"signature_name": "serving_default", "inputs": images},
        "named column": {"inputs": {"images": images}},
    }[form]

    found = tensor_of(document, **options)

    assert found.shape == IMAGES.shape
    assert bytes(found.content) == IMAGES.tobytes()


@pytest.mark.parametrize("flat", [True, False])
def test_numbers_of_an_infer_request(flat: bool) -> None:
    data = IMAGES.ravel().tolist() if flat else IMAGES.tolist()
    tensor = {"name": "images", "shape": list(IMAGES.shape), "datatype": "FP32", "data": data}

    found = parse_infer(json.dumps({"inputs": [tensor], "id": "x"}).encode(), "", "images", "output", 16)

    assert (found.id, found.tensor) == ("x", FloatTensor(IMAGES.shape, memoryview(IMAGES.tobytes())))


@pytest.mark.parametrize("name", ['a"[1', "a\\", "é\n/", '\\"\\\\"[', "\x01"])
def test_escapes_in_other_strings(name: str) -> None:
    found = parse_object(json.dumps({name: name, "x": IMAGES.tolist(), "z": [name]}).encode())

    assert (found[name], found["z"]) == (name, [name])
    assert isinstance(found["x"], Numbers)


def test_numbers_that_are_not_finite_are_read_at_any_place() -> None:
    numbers = IMAGES[0].copy()
    numbers[0, 0, 0], numbers[30, 1, 2], numbers[-1, -1, -1] = math.nan, math.inf, -math.inf

    found = tensor_of({"instances": numbers.tolist()})

    assert np.array_equal(np.frombuffer(found.content, "<f4").reshape(found.shape), numbers, equal_nan=True)


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        BOMB.replace(b"[]", b"[ ]"),
        BOMB.replace(b"[]", b"{}"),
        BOMB.replace(b"[]", b"null"),
        BOMB.replace(b"[]", b'""'),
        BOMB.replace(b"[]", b"[[[1]]]"),
        BOMB.replace(b"[]", b"[1]")[:-2] + b",[]]}",
        BOMB.replace(b"[]", b"NaN,null"),
        b'{"\\n":"' + BOMB[2:],
        b"[" * 5_000_000,
        b"[" * 5_000_000 + b"]" * 5_000_000,
        b'{"instances":[' + b"0," * 10_500_000 + b"0]}",
        b'"' * 5_000_000,
        b'{"a":' * 1_000_000,
    ],
    ids=[
        *("lists", "spaces", "objects", "nulls", "strings", "deep lists", "ragged", "constants", "escapes", "depth"),
        *("closed depth", "numbers", "quotes", "objects in objects"),
    ],
)
def test_a_document_of_many_values_is_refused_before_objects_are_built(body: bytes) -> None:
    body = body[:21_000_020]
    tracemalloc.start()
    try:
        with pytest.raises((InvalidTensor, TooManyImages)):
            parse_predict(body, "images", 16)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Positions of commas, brackets or quotes, eight bytes each, are the most that is held.
    assert peak < 25 * len(body)


def test_more_images_than_allowed_are_not_decoded() -> None:
    many = {"instances": [{"b64": "AAAA"}] * 1000}
    binary = (
        b'{"inputs":[{"name":"images","shape":[1000000],"datatype":"BYTES","parameters":{"binary_data_size":4000000}}]}'
    )

    with pytest.raises(TooManyImages):
        parse_predict(json.dumps(many).encode(), "images", 16)
    with pytest.raises(TooManyImages):
        parse_infer(binary + bytes(4_000_000), str(len(binary)), "images", "output", 16)


numbers = st.integers(-(2**40), 2**40) | st.floats(-1e6, 1e6, width=32)
documents = st.dictionaries(
    st.text(max_size=3),
    st.recursive(
        numbers | st.none() | st.booleans() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
        max_leaves=20,
    )
    | st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)).map(lambda shape: np.ones(shape).tolist()),
    max_size=3,
)


@settings(max_examples=400, deadline=None, database=None)
@example({"": [[], []]}, None, 0, b"")
@example({"": [[1], [], [2]]}, 1, 0, b"")
@given(
    documents,
    st.sampled_from([None, 1]),
    st.integers(0, 200),
    st.sampled_from([b"", b"]", b"[", b",", b'"', b" 1", b"\\", b'\\"', b"\\u0000"]),
)
def test_what_is_parsed_equals_what_a_parser_makes_of_it(
    document: Any, indent: int | None, at: int, extra: bytes
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=False).encode()
    text = text[:at] + extra + text[at:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_documents, "SMALL", 2)
        patch.setattr(json_documents, "_PIECE", 2)
        try:
            found = values(parse_object(text))
        except InvalidTensor:
            with pytest.raises((ValueError, AssertionError)):
                assert isinstance(json.loads(text), dict)
        else:
            assert _rounded(found) == _rounded(json.loads(text))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(np.float32(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


async def test_a_large_document_is_parsed_in_a_thread() -> None:
    threads = [await parsed(size, threading.get_ident) for size in (1000, SMALL, SMALL + 1)]

    assert threads[:2] == [threading.get_ident()] * 2
    assert threads[2] != threading.get_ident()


@pytest.mark.parametrize("text", ["AA==" + "A" * 2_000_000, "A" * (2**20 - 4) + "AA==" + "A" * 8, "A" * (2**20 + 1)])
def test_base64_in_pieces_is_as_strict_as_in_one(text: str) -> None:
    whole = "A" * (2**21 + 4)

    assert from_base64(whole) == bytes(len(whole) // 4 * 3)
    with pytest.raises(ValueError, match=r"adding|base64"):
        from_base64(text)
