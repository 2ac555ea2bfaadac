"""Bounds of serialized responses: fields are counted as the parser finds them."""

import contextlib

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.serving_pb2 import GetModelStatusResponse, PredictResponse
from protos.tensor_pb2 import TensorProto, TensorShapeProto
from shared.errors import ServiceAnswerInvalid
from shared.upstream.codecs.bounds import Bounds, parse
from shared.upstream.codecs.tensorflow import TensorFlowCodec
from tests.support.hostile_service import empty_entries, many_dimensions, many_outputs
from tests.unit.upstream.codecs.test_tensorflow_outputs import CODEC_SETTINGS

WIDE = Bounds(10_000, 10_000)

STATUS = GetModelStatusResponse()
for number in range(3):
    one = STATUS.model_version_status.add(version=number, state=30)
    one.status.error_message = "text"


def test_each_field_counts_where_messages_are_nested() -> None:
    data = STATUS.SerializeToString()

    # Three versions, with three fields and a message of one field each; a version of zero is not sent.
    assert parse(GetModelStatusResponse, data, Bounds(1000, 14)) == STATUS
    with pytest.raises(ServiceAnswerInvalid, match="has more than 13 fields"):
        parse(GetModelStatusResponse, data, Bounds(1000, 13))
    with pytest.raises(ServiceAnswerInvalid, match=rf"has {len(data)} bytes; {len(data) - 1} are accepted"):
        parse(GetModelStatusResponse, data, Bounds(len(data) - 1, 14))


def test_unpacked_values_are_fields_and_packed_ones_are_not() -> None:
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1000)])
    packed = TensorProto(float_val=[0.5] * 1000, tensor_shape=shape).SerializeToString()
    unpacked = b"\x2d\0\0\0\x3f" * 1000

    assert len(parse(TensorProto, packed, Bounds(5000, 4)).float_val) == 1000
    assert len(parse(TensorProto, unpacked, Bounds(5000, 1000)).float_val) == 1000
    with pytest.raises(ServiceAnswerInvalid):
        parse(TensorProto, unpacked, Bounds(5000, 999))


@pytest.mark.parametrize("data", [many_dimensions(100_000), empty_entries(1_000_000), many_outputs([b"name"] * 20_000)])
def test_attacks_are_valid_messages(data: bytes) -> None:
    """Without the bounds, each would be parsed."""
    assert PredictResponse.FromString(data).ByteSize()
    with pytest.raises(ServiceAnswerInvalid, match="has more than 10000 fields"):
        TensorFlowCodec(CODEC_SETTINGS).scores(data)


@settings(max_examples=500, deadline=None, database=None)
@given(
    st.binary(max_size=60)
    | st.builds(
        lambda at, piece: STATUS.SerializeToString()[:at] + piece + STATUS.SerializeToString()[at:],
        st.integers(0, 40),
        st.binary(max_size=4),
    )
)
def test_what_is_parsed_is_what_protobuf_parses(data: bytes) -> None:
    for kind in (GetModelStatusResponse, PredictResponse):
        with contextlib.suppress(ServiceAnswerInvalid):
            assert parse(kind, data, WIDE) == kind.FromString(data)
    # Anything that this service's own messages can be is accepted.
    with contextlib.suppress(DecodeError):
        clean = GetModelStatusResponse.FromString(data)
        clean.DiscardUnknownFields()
        assert parse(GetModelStatusResponse, clean.SerializeToString(), WIDE) == clean


def test_a_layout_with_much_around_its_numbers_is_not_kept() -> None:
    numbers = b"".join(bytes([index, 0, 0x80, 0x3F]) for index in range(20))
    tensor = b"\x08\x01\x12\x08\x12\x02\x08\x01\x12\x02\x08\x14\x2a\x50" + numbers
    entry = b"\x0a\x03out\x12" + bytes([len(tensor)]) + tensor
    response = b"\x0a" + bytes([len(entry)]) + entry
    padding = b"\x7a\x90\x4e" + bytes(10_000)

    for sent, is_kept in ((response, True), (response + padding, False)):
        codec = TensorFlowCodec(CODEC_SETTINGS)
        assert codec.output(sent, 1).values.shape == (1, 20)
        assert (codec._layouts.read(sent) is not None) is is_kept
