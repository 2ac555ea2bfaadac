"""Whatever stands in a body, it is read as a tensor or refused in words: no other exception leaves the readers."""

import contextlib
import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from functions import oip_bodies, tf_bodies
from shared.scoring.model_types import Files, Floats, TensorRefused

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


def check(tensor: Files | Floats) -> None:
    """What is read fits together."""
    if isinstance(tensor, Floats):
        assert len(tensor.content) == 4 * int(np.prod([int(size) for size in tensor.shape], dtype=object))
    else:
        assert all(isinstance(file, bytes) for file in tensor.data)


@settings(max_examples=400, deadline=None, database=None)
@given(
    st.dictionaries(st.sampled_from(["instances", "inputs", "signature_name"]), anything, max_size=2)
    | st.fixed_dictionaries({"instances": st.lists(anything, max_size=3)})
)
def test_rows_and_columns(document: Any) -> None:
    with contextlib.suppress(TensorRefused):
        check(tf_bodies.read(json.dumps(document).encode(), "images").tensor)


@settings(max_examples=400, deadline=None, database=None)
@given(infer, st.binary(max_size=40), st.booleans())
def test_tensors_in_json_and_behind_it(document: Any, content: bytes, split: bool) -> None:
    head = json.dumps(document).encode()
    length = str(len(head)) if split else ""
    with contextlib.suppress(TensorRefused):
        check(oip_bodies.read(head + content if split else head, length, "images", "output_alias").tensor)


@settings(max_examples=200, deadline=None, database=None)
@given(st.binary(max_size=60), st.text(max_size=4))
def test_any_bytes_at_all(body: bytes, length: str) -> None:
    with contextlib.suppress(TensorRefused):
        tf_bodies.read(body, "images")
    with contextlib.suppress(TensorRefused):
        oip_bodies.read(body, length, "images", "output_alias")
