"""Our trimmed .proto files and the published ones are wire-compatible, field by field, in both directions.

The tests iterate over our descriptors, so that messages, fields, enumerations and services that are added later are
covered.
"""

import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from protos import serving_pb2, tensor_pb2
from shared.settings import ServiceSettings
from shared.upstream.codecs import Selector
from shared.upstream.codecs.open_inference import OpenInferenceCodec
from shared.upstream.codecs.tensorflow import TensorFlowCodec
from tests.conftest import ROOT
from tests.integration.protos.conftest import Published
from tests.support.protobuf import samples

_MODULES = [
    importlib.import_module(f"protos.{file.name.removesuffix('.proto')}_pb2")
    for file in sorted((ROOT / "protos").glob("*.proto"))
    if not file.name.startswith("otlp_")  # of names of their own: tests/unit/telemetry/test_otlp.py
]

# Intended differences, as (ours, published). JSON names are not part of the wire format: the published files declare
# some explicitly, ours have the default, and the code for TensorFlow Serving's JSON uses the fields' own names.
_STATUS_CODE = {
    # The published enumeration of gRPC's codes is declared as a number, which is equal on the wire.
    "type": (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_ENUM),
    "enum": (None, "tensorflow.error.Code"),
    "json_name": ("errorCode", "error_code"),
}
DIFFERENCES: dict[str, dict[str, tuple[Any, Any]]] = {
    "tensorflow.serving.StatusProto.error_code": _STATUS_CODE,
    "tensorflow.serving.StatusProto.error_message": {"json_name": ("errorMessage", "error_message")},
    "tensorflow.serving.GetModelStatusResponse.model_version_status": {
        "json_name": ("modelVersionStatus", "model_version_status")
    },
}


def _nested(message: Descriptor) -> Iterator[Descriptor]:
    yield message
    for inner in message.nested_types:
        yield from _nested(inner)


MESSAGES: list[Descriptor] = [
    message
    for module in _MODULES
    for outer in module.DESCRIPTOR.message_types_by_name.values()
    for message in _nested(outer)
]
FIELDS: list[FieldDescriptor] = [field for message in MESSAGES for field in message.fields]
ENUMS: list[EnumDescriptor] = [
    enum
    for holder in [*(module.DESCRIPTOR for module in _MODULES), *MESSAGES]
    for enum in (getattr(holder, "enum_types_by_name", None) or {}).values()
]
SERVICES: list[ServiceDescriptor] = [
    service for module in _MODULES for service in module.DESCRIPTOR.services_by_name.values()
]
# The entries of a map are messages only in the descriptors; they are sent within the map.
SENT_MESSAGES = [message for message in MESSAGES if not message.GetOptions().map_entry]
SENT_FIELDS = [field for message in SENT_MESSAGES for field in message.fields]

every_field = pytest.mark.parametrize("ours", FIELDS, ids=lambda each: each.full_name)
every_sent_field = pytest.mark.parametrize("field", SENT_FIELDS, ids=lambda each: each.full_name)
every_sent_message = pytest.mark.parametrize("message", SENT_MESSAGES, ids=lambda each: each.full_name)


class Family:
    """The published definitions for a descriptor of ours: their process, and a pool of their descriptors.

    The pool is not the default one, because that has our definitions of the same names.
    """

    def __init__(self, published: Published) -> None:
        self.process = published
        self.pool = DescriptorPool()
        for file in FileDescriptorSet.FromString(published.definitions()).file:
            self.pool.Add(file)

    def field(self, ours: FieldDescriptor) -> FieldDescriptor:
        message, _, name = ours.full_name.rpartition(".")
        return self.pool.FindMessageTypeByName(message).fields_by_name[name]


type Families = Callable[[Descriptor | EnumDescriptor | FieldDescriptor | ServiceDescriptor], Family]


@pytest.fixture(scope="module")
def family_of(request: pytest.FixtureRequest) -> Families:
    """Returns the published family of a descriptor of ours."""

    @functools.cache
    def started(fixture: str) -> Family:
        return Family(request.getfixturevalue(fixture))

    fixtures = {"grpc": "published_health", "inference": "published_open_inference"}
    return lambda ours: started(fixtures.get(ours.full_name.split(".")[0], "published_tensorflow"))


def attributes(field: FieldDescriptor) -> dict[str, Any]:
    """The attributes that determine a field's encoding, and its name in JSON."""
    return {
        "name": field.name,
        "json_name": field.json_name,
        "number": field.number,
        "type": field.type,
        "repeated": samples.is_repeated(field),
        "map": samples.is_map(field),
        "packed": field.is_packed,
        "presence": field.has_presence,
        "oneof": field.containing_oneof.name if field.containing_oneof else None,
        "message": field.message_type.full_name if field.message_type else None,
        "enum": field.enum_type.full_name if field.enum_type else None,
    }


def content(message: Message) -> Any:
    return json_format.MessageToDict(message, preserving_proto_field_name=True, use_integers_for_enums=True)


def unknown_numbers(message: Message) -> set[int]:
    unknown = UnknownFieldSet(message)
    return {unknown[index].field_number for index in range(len(unknown))}


# ---------------------------------------------------------------- definitions


@every_field
def test_a_field_is_declared_as_the_published_one(ours: FieldDescriptor, family_of: Families) -> None:
    published = attributes(family_of(ours).field(ours))
    own = attributes(ours)

    different = {name: (own[name], published[name]) for name in own if own[name] != published[name]}

    assert different == DIFFERENCES.get(ours.full_name, {})


def test_the_intended_differences_are_of_existing_fields() -> None:
    assert DIFFERENCES.keys() <= {field.full_name for field in FIELDS}


@pytest.mark.parametrize("ours", ENUMS, ids=lambda each: each.full_name)
def test_enumeration_values_have_the_published_numbers(ours: EnumDescriptor, family_of: Families) -> None:
    published = family_of(ours).pool.FindEnumTypeByName(ours.full_name)

    assert {value.name: value.number for value in ours.values}.items() <= {
        value.name: value.number for value in published.values
    }.items()


@pytest.mark.parametrize("ours", SERVICES, ids=lambda each: each.full_name)
def test_methods_have_the_published_types(ours: ServiceDescriptor, family_of: Families) -> None:
    service = family_of(ours).pool.FindServiceByName(ours.full_name)

    for method in ours.methods:
        published = service.methods_by_name[method.name]
        assert method.full_name == published.full_name
        assert method.input_type.full_name == published.input_type.full_name
        assert method.output_type.full_name == published.output_type.full_name
        assert method.client_streaming == published.client_streaming
        assert method.server_streaming == published.server_streaming


def test_the_codec_calls_declared_methods() -> None:
    called = set()
    for kind in (TensorFlowCodec, OpenInferenceCodec):
        codec = kind(ServiceSettings("cats", "127.0.0.1"))
        questions = (codec.status(Selector()), codec.metadata(Selector()), *codec.describe(), *codec.readiness())
        called |= {codec.infer_method, *(rpc.method for rpc in questions)}

    declared = {f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods}

    assert called <= declared


# ---------------------------------------------------------------- encoding


@every_sent_field
def test_our_fields_are_parsed_by_the_published_definitions(field: FieldDescriptor, family_of: Families) -> None:
    for sample in samples.single(field):
        data = sample.SerializeToString(deterministic=True)
        assert data

        read, serialized = family_of(field).process.read(sample.DESCRIPTOR.full_name, data)

        assert field.name in read
        assert read == content(sample)
        assert serialized == data


@every_sent_field
def test_published_fields_are_parsed_by_our_definitions(field: FieldDescriptor, family_of: Families) -> None:
    for sample in samples.single(field):
        data = family_of(field).process.write(sample.DESCRIPTOR.full_name, content(sample))

        read = type(sample).FromString(data)

        assert read == sample
        assert not unknown_numbers(read)


@every_sent_message
def test_complete_messages_are_parsed_in_both_directions(message: Descriptor, family_of: Families) -> None:
    process = family_of(message).process
    for sample in samples.whole(message):
        data = sample.SerializeToString(deterministic=True)

        assert process.read(message.full_name, data) == (content(sample), data)
        assert type(sample).FromString(process.write(message.full_name, content(sample))) == sample


@every_sent_message
def test_omitted_fields_are_preserved_as_unknown_fields(message: Descriptor, family_of: Families) -> None:
    family = family_of(message)
    published = family.pool.FindMessageTypeByName(message.full_name)
    omitted = {field.number for field in published.fields} - {field.number for field in message.fields}
    unknown: set[int] = set()

    for data in family.process.samples(message.full_name):
        parsed = GetMessageClass(message).FromString(data)
        unknown |= unknown_numbers(parsed)
        preserved = family.process.read(message.full_name, parsed.SerializeToString())
        assert preserved == family.process.read(message.full_name, data)

    assert unknown == omitted


def test_some_fields_are_omitted(published_tensorflow: Published) -> None:
    # Otherwise the test above would check nothing.
    [data] = published_tensorflow.samples("tensorflow.TensorProto")

    names = {3: "version_number", 9: "scomplex_val"}
    assert names.keys() <= unknown_numbers(tensor_pb2.TensorProto.FromString(data))


# ---------------------------------------------------------------- cases that the descriptors do not show


def test_an_omitted_data_type_is_preserved(published_tensorflow: Published) -> None:
    data = published_tensorflow.write("tensorflow.TensorProto", {"dtype": "DT_BFLOAT16"})

    tensor = tensor_pb2.TensorProto.FromString(data)

    assert tensor.dtype == 14
    assert published_tensorflow.read("tensorflow.TensorProto", tensor.SerializeToString())[0] == {"dtype": 14}


def test_unpacked_numbers_are_parsed(published_tensorflow: Published) -> None:
    # Parsers must accept packed and unpacked lists; neither side writes the unpacked form.
    unpacked = b"".join(b"\x2d" + number for number in (b"\x00\x00\x80\x3f", b"\x00\x00\x00\x3f"))

    assert list(tensor_pb2.TensorProto.FromString(unpacked).float_val) == [1.0, 0.5]
    assert published_tensorflow.read("tensorflow.TensorProto", unpacked)[0] == {"float_val": [1.0, 0.5]}


@pytest.mark.parametrize("first", ["version", "version_label"])
def test_the_last_member_of_a_oneof_is_set(first: str, published_tensorflow: Published) -> None:
    parts = [
        serving_pb2.ModelSpec(version={"value": 3}).SerializeToString(),
        serving_pb2.ModelSpec(version_label="stable").SerializeToString(),
    ]
    if first == "version_label":
        parts.reverse()
    data = b"".join(parts)
    last = "version" if first == "version_label" else "version_label"

    assert serving_pb2.ModelSpec.FromString(data).WhichOneof("version_choice") == last
    assert list(published_tensorflow.read("tensorflow.serving.ModelSpec", data)[0]) == [last]


def test_metadata_that_we_pack_can_be_unpacked_by_the_published_definitions(published_tensorflow: Published) -> None:
    signatures = serving_pb2.SignatureDefMap()
    signatures.signature_def["serving_default"].inputs["images"].dtype = tensor_pb2.DT_FLOAT
    response = serving_pb2.GetModelMetadataResponse()
    response.metadata["signature_def"].Pack(signatures)

    read, _ = published_tensorflow.read(response.DESCRIPTOR.full_name, response.SerializeToString())

    assert read["metadata"]["signature_def"] == {
        "@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap",
        "signature_def": {"serving_default": {"inputs": {"images": {"dtype": 1}}}},
    }


def test_metadata_that_the_published_definitions_pack_can_be_unpacked(published_tensorflow: Published) -> None:
    signatures = {"signature_def": {"serving_default": {"outputs": {"scores": {"name": "Softmax:0"}}}}}
    packed = {"@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap", **signatures}
    data = published_tensorflow.write(
        "tensorflow.serving.GetModelMetadataResponse", {"metadata": {"signature_def": packed}}
    )

    ours = serving_pb2.SignatureDefMap()
    response = serving_pb2.GetModelMetadataResponse.FromString(data)

    assert response.metadata["signature_def"].Unpack(ours)
    assert content(ours) == signatures


def test_all_definitions_are_covered() -> None:
    assert {message.full_name for message in SENT_MESSAGES} >= {
        "grpc.health.v1.HealthCheckRequest",
        "tensorflow.SignatureDef",
        "tensorflow.TensorShapeProto.Dim",
        "tensorflow.serving.PredictRequest",
    }
    assert {enum.full_name for enum in ENUMS} == {
        "grpc.health.v1.HealthCheckResponse.ServingStatus",
        "tensorflow.DataType",
        "tensorflow.serving.ModelVersionStatus.State",
    }
    assert {service.full_name for service in SERVICES} == {
        "grpc.health.v1.Health",
        "inference.GRPCInferenceService",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    }
