"""Our trimmed .proto files and the published ones understand each other, field by field, in both directions.

Everything is found by walking our descriptors: a message, a field, an enumeration or a service that is added later is
compared and sent across without a word here.
"""

import functools
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
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
from tests.protos import samples
from tests.protos.conftest import Published

_MODULES = [
    importlib.import_module(f"protos.{file.name.removesuffix('.proto')}_pb2")
    for file in sorted((Path(__file__).parent.parent.parent / "protos").glob("*.proto"))
]

# Where ours differs on purpose, as (ours, theirs). A name in the JSON form is no part of the wire: where the published
# files choose one, ours keep the usual one, and whoever writes TensorFlow Serving's JSON keeps the field's own name.
_STATUS_CODE = {
    # The published enumeration of gRPC's codes, as the number that it is on the wire.
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
# A map's entries are messages to the descriptors only; they cross the wire inside the map.
SENT_MESSAGES = [message for message in MESSAGES if not message.GetOptions().map_entry]
SENT_FIELDS = [field for message in SENT_MESSAGES for field in message.fields]

every_field = pytest.mark.parametrize("ours", FIELDS, ids=lambda each: each.full_name)
every_sent_field = pytest.mark.parametrize("field", SENT_FIELDS, ids=lambda each: each.full_name)
every_sent_message = pytest.mark.parametrize("message", SENT_MESSAGES, ids=lambda each: each.full_name)


class Family:
    """The published side of a descriptor of ours: its process, and its definitions as a pool of descriptors.

    A pool that is not the default one may define our names again.
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
    """Finds the published family of a descriptor of ours by its package."""

    @functools.cache
    def started(fixture: str) -> Family:
        return Family(request.getfixturevalue(fixture))

    return lambda ours: started(
        "published_health" if ours.full_name.startswith("grpc.health.") else "published_tensorflow"
    )


def facts(field: FieldDescriptor) -> dict[str, Any]:
    """What decides on a field's bytes, and on its name in the JSON form."""
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


# ---------------------------------------------------------------- what the definitions say


@every_field
def test_a_field_is_declared_as_the_published_one(ours: FieldDescriptor, family_of: Families) -> None:
    theirs = facts(family_of(ours).field(ours))
    mine = facts(ours)

    different = {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}

    assert different == DIFFERENCES.get(ours.full_name, {})


def test_differences_are_of_fields_that_exist() -> None:
    assert DIFFERENCES.keys() <= {field.full_name for field in FIELDS}


@pytest.mark.parametrize("ours", ENUMS, ids=lambda each: each.full_name)
def test_an_enumeration_s_values_have_the_published_numbers(ours: EnumDescriptor, family_of: Families) -> None:
    theirs = family_of(ours).pool.FindEnumTypeByName(ours.full_name)

    assert {value.name: value.number for value in ours.values}.items() <= {
        value.name: value.number for value in theirs.values
    }.items()


@pytest.mark.parametrize("ours", SERVICES, ids=lambda each: each.full_name)
def test_a_service_s_methods_have_the_published_types(ours: ServiceDescriptor, family_of: Families) -> None:
    theirs = family_of(ours).pool.FindServiceByName(ours.full_name)

    for method in ours.methods:
        published = theirs.methods_by_name[method.name]
        assert method.full_name == published.full_name
        assert method.input_type.full_name == published.input_type.full_name
        assert method.output_type.full_name == published.output_type.full_name
        assert method.client_streaming == published.client_streaming
        assert method.server_streaming == published.server_streaming


# ---------------------------------------------------------------- what the bytes say


@every_sent_field
def test_a_field_that_we_write_is_read_there(field: FieldDescriptor, family_of: Families) -> None:
    for sample in samples.single(field):
        data = sample.SerializeToString(deterministic=True)
        assert data

        read, written_again = family_of(field).process.read(sample.DESCRIPTOR.full_name, data)

        assert field.name in read
        assert read == content(sample)
        assert written_again == data


@every_sent_field
def test_a_field_that_is_written_there_is_read_by_us(field: FieldDescriptor, family_of: Families) -> None:
    for sample in samples.single(field):
        data = family_of(field).process.write(sample.DESCRIPTOR.full_name, content(sample))

        read = type(sample).FromString(data)

        assert read == sample
        assert not unknown_numbers(read)


@every_sent_message
def test_a_whole_message_crosses_both_ways(message: Descriptor, family_of: Families) -> None:
    process = family_of(message).process
    for sample in samples.whole(message):
        data = sample.SerializeToString(deterministic=True)

        assert process.read(message.full_name, data) == (content(sample), data)
        assert type(sample).FromString(process.write(message.full_name, content(sample))) == sample


@every_sent_message
def test_fields_that_we_left_out_pass_through_us_unharmed(message: Descriptor, family_of: Families) -> None:
    family = family_of(message)
    theirs = family.pool.FindMessageTypeByName(message.full_name)
    left_out = {field.number for field in theirs.fields} - {field.number for field in message.fields}
    not_known: set[int] = set()

    for data in family.process.samples(message.full_name):
        passed = GetMessageClass(message).FromString(data)
        not_known |= unknown_numbers(passed)
        through = family.process.read(message.full_name, passed.SerializeToString())
        assert through == family.process.read(message.full_name, data)

    assert not_known == left_out


def test_what_passes_through_unharmed_is_not_nothing(published_tensorflow: Published) -> None:
    # The test above would hold for .proto files that were not trimmed.
    [data] = published_tensorflow.samples("tensorflow.TensorProto")

    names = {3: "version_number", 9: "scomplex_val"}
    assert names.keys() <= unknown_numbers(tensor_pb2.TensorProto.FromString(data))


# ---------------------------------------------------------------- what a walk over descriptors does not show


def test_a_type_of_tensor_that_we_do_not_name_keeps_its_number(published_tensorflow: Published) -> None:
    data = published_tensorflow.write("tensorflow.TensorProto", {"dtype": "DT_BFLOAT16"})

    tensor = tensor_pb2.TensorProto.FromString(data)

    assert tensor.dtype == 14
    assert published_tensorflow.read("tensorflow.TensorProto", tensor.SerializeToString())[0] == {"dtype": 14}


def test_numbers_that_are_not_packed_are_read_too(published_tensorflow: Published) -> None:
    # A reader must take either form of a list; here is the one that neither side writes.
    apart = b"".join(b"\x2d" + number for number in (b"\x00\x00\x80\x3f", b"\x00\x00\x00\x3f"))

    assert list(tensor_pb2.TensorProto.FromString(apart).float_val) == [1.0, 0.5]
    assert published_tensorflow.read("tensorflow.TensorProto", apart)[0] == {"float_val": [1.0, 0.5]}


@pytest.mark.parametrize("first", ["version", "version_label"])
def test_of_a_oneof_the_last_on_the_wire_holds(first: str, published_tensorflow: Published) -> None:
    parts = [
        serving_pb2.ModelSpec(version={"value": 3}).SerializeToString(),
        serving_pb2.ModelSpec(version_label="stable").SerializeToString(),
    ]
    if first == "version_label":
        parts.reverse()
    data = b"".join(parts)
    held = "version" if first == "version_label" else "version_label"

    assert serving_pb2.ModelSpec.FromString(data).WhichOneof("version_choice") == held
    assert list(published_tensorflow.read("tensorflow.serving.ModelSpec", data)[0]) == [held]


def test_metadata_that_we_pack_is_unpacked_there(published_tensorflow: Published) -> None:
    signatures = serving_pb2.SignatureDefMap()
    signatures.signature_def["serving_default"].inputs["images"].dtype = tensor_pb2.DT_FLOAT
    response = serving_pb2.GetModelMetadataResponse()
    response.metadata["signature_def"].Pack(signatures)

    read, _ = published_tensorflow.read(response.DESCRIPTOR.full_name, response.SerializeToString())

    assert read["metadata"]["signature_def"] == {
        "@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap",
        "signature_def": {"serving_default": {"inputs": {"images": {"dtype": 1}}}},
    }


def test_metadata_that_is_packed_there_is_unpacked_by_us(published_tensorflow: Published) -> None:
    signatures = {"signature_def": {"serving_default": {"outputs": {"scores": {"name": "Softmax:0"}}}}}
    packed = {"@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap", **signatures}
    data = published_tensorflow.write(
        "tensorflow.serving.GetModelMetadataResponse", {"metadata": {"signature_def": packed}}
    )

    ours = serving_pb2.SignatureDefMap()
    response = serving_pb2.GetModelMetadataResponse.FromString(data)

    assert response.metadata["signature_def"].Unpack(ours)
    assert content(ours) == signatures


def test_the_walk_reaches_what_it_should() -> None:
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
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    }
