"""The parsers return a tensor for any body, or raise InvalidTensor, but no other exception."""

import contextlib
import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.protocols.open_inference_json import parse_infer
from functions.protocols.tensorflow_json import parse_predict
from shared.errors import InvalidTensor
from shared.upstream.codecs import EncodedImages, FloatTensor

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just({"b64": "aGk="})
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["images", "b64", "data", "name", "shape", "parameters"]), inner, max_size=3)
    ),
    max_leaves=12,
)
tensors = st.fixed_dictionaries(
    {"name": st.just("images") | anything},
    optional={
        "shape": st.lists(st.integers(-1, 3), max_size=3) | anything,
        "datatype": st.sampled_from(["FP32", "BYTES"]) | anything,
        "data": anything,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(0, 40)}) | anything,
    },
)
outputs = st.fixed_dictionaries({"name": st.just("output_alias") | anything}, optional={"parameters": anything})
infer = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=2) | anything},
    optional={"outputs": st.lists(outputs, max_size=2) | anything, "parameters": anything, "id": anything},
)


def check(tensor: EncodedImages | FloatTensor) -> None:
    """Check that the parts of a parsed tensor are consistent."""
    if isinstance(tensor, FloatTensor):
        assert len(tensor.content) == 4 * int(np.prod([int(size) for size in tensor.shape], dtype=object))
    else:
        assert all(isinstance(file, bytes) for file in tensor.files)


@settings(max_examples=400, deadline=None, database=None)
@given(
    st.dictionaries(st.sampled_from(["instances", "inputs", "signature_name"]), anything, max_size=2)
    | st.fixed_dictionaries({"instances": st.lists(anything, max_size=3)})
)
def test_predict_requests_of_the_row_and_column_formats(document: Any) -> None:
    with contextlib.suppress(InvalidTensor):
        check(parse_predict(json.dumps(document).encode(), "images", 16).tensor)


@settings(max_examples=400, deadline=None, database=None)
@given(infer, st.binary(max_size=40), st.booleans())
def test_infer_requests_with_tensors_in_json_or_binary(document: Any, content: bytes, split: bool) -> None:
    head = json.dumps(document).encode()
    length = str(len(head)) if split else ""
    with contextlib.suppress(InvalidTensor):
        check(parse_infer(head + content if split else head, length, "images", "output_alias", 16).tensor)


@settings(max_examples=200, deadline=None, database=None)
@given(st.binary(max_size=60), st.text(max_size=4))
def test_arbitrary_bytes(body: bytes, length: str) -> None:
    with contextlib.suppress(InvalidTensor):
        parse_predict(body, "images", 16)
    with contextlib.suppress(InvalidTensor):
        parse_infer(body, length, "images", "output_alias", 16)
