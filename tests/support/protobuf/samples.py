"""Sample messages that are generated from a descriptor, so that fields that are added later are covered.

They are used in the tests with the project's definitions, and in the process of ``third_party.py`` with the published
ones.
"""

from collections.abc import Iterator
from typing import Any

from google.protobuf.any_pb2 import Any as PackedMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

# The nesting depth of messages, of which TensorFlow's are recursive. Below it, messages are present and empty.
MAX_DEPTH = 4

# The content of model metadata, the only message that TensorFlow Serving packs into an Any.
_PACKED = "tensorflow.serving.SignatureDefMap"

# The limits and small values of each range. Floats are exact in 32 bits, or are only used for doubles.
_SIGNED_32 = (1, -1, 2**31 - 1, -(2**31))
_SIGNED_64 = (1, -1, 2**63 - 1, -(2**63))
_UNSIGNED_32 = (1, 2**32 - 1)
_UNSIGNED_64 = (1, 2**64 - 1)
_VALUES: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.TYPE_BOOL: (True,),
    FieldDescriptor.TYPE_BYTES: (b"\x00\xff\x89PNG", b"plain"),
    FieldDescriptor.TYPE_DOUBLE: (0.1, -1e300, float("inf")),
    FieldDescriptor.TYPE_FIXED32: _UNSIGNED_32,
    FieldDescriptor.TYPE_FIXED64: _UNSIGNED_64,
    FieldDescriptor.TYPE_FLOAT: (0.5, -1.5e38, float("-inf")),
    FieldDescriptor.TYPE_INT32: _SIGNED_32,
    FieldDescriptor.TYPE_INT64: _SIGNED_64,
    FieldDescriptor.TYPE_SFIXED32: _SIGNED_32,
    FieldDescriptor.TYPE_SFIXED64: _SIGNED_64,
    FieldDescriptor.TYPE_SINT32: _SIGNED_32,
    FieldDescriptor.TYPE_SINT64: _SIGNED_64,
    FieldDescriptor.TYPE_STRING: ("serving_default", "scoré 🛰"),
    FieldDescriptor.TYPE_UINT32: _UNSIGNED_32,
    FieldDescriptor.TYPE_UINT64: _UNSIGNED_64,
}


def single(field: FieldDescriptor) -> Iterator[Message]:
    """Messages in which only ``field`` is set: one with all values of a list or map, otherwise one for each value."""
    values = _values(field, depth=1)
    if is_repeated(field):
        yield _with(field, values)
        return
    if field.message_type:
        # An empty message differs from an absent one.
        yield _with(field, [GetMessageClass(field.message_type)()])
    for value in values:
        yield _with(field, [value])


def whole(descriptor: Descriptor, depth: int = 0) -> list[Message]:
    """Messages in which every field is set, one for each alternative of the largest oneof."""
    if descriptor.full_name == PackedMessage.DESCRIPTOR.full_name:
        return [_packed(descriptor, depth)]
    if depth > MAX_DEPTH:
        return [GetMessageClass(descriptor)()]
    alternatives = max((len(oneof.fields) for oneof in descriptor.oneofs), default=1)
    return [_filled(descriptor, depth, turn) for turn in range(alternatives)]


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether the field is a list or a map."""
    return declaration(field).label == FieldDescriptorProto.LABEL_REPEATED


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map, which is declared as a list of messages."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def declaration(field: FieldDescriptor) -> FieldDescriptorProto:
    """The field as declared in the .proto file, in the form that is the same in all versions of protobuf."""
    if field.containing_type is None:
        raise ValueError(f"{field.full_name} is not a field of a message")
    message = DescriptorProto()
    field.containing_type.CopyToProto(message)
    return message.field[field.index]


def _filled(descriptor: Descriptor, depth: int, turn: int) -> Message:
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        oneof = field.containing_oneof
        if oneof and oneof.fields[turn % len(oneof.fields)] != field:
            continue
        values = _values(field, depth + 1)
        _put(message, field, values if is_repeated(field) else [values[turn % len(values)]])
    return message


def _packed(descriptor: Descriptor, depth: int) -> Message:
    content = descriptor.file.pool.FindMessageTypeByName(_PACKED)
    packed = PackedMessage()
    packed.Pack(whole(content, depth)[0], deterministic=True)
    return packed


def _values(field: FieldDescriptor, depth: int) -> list[Any]:
    """Values that differ from the default; for a list also the default."""
    if is_map(field):
        return _values(_entry(field, "value"), depth)
    if field.message_type:
        return list(whole(field.message_type, depth))
    if field.enum_type:
        numbers = [value.number for value in field.enum_type.values]
        return numbers if is_repeated(field) else [number for number in numbers if number] or numbers
    values = list(_VALUES[field.type])
    return [*values, type(values[0])()] if is_repeated(field) else values


def _entry(field: FieldDescriptor, part: str) -> FieldDescriptor:
    """The ``key`` or the ``value`` of a map's entries."""
    if field.message_type is None:
        raise ValueError(f"{field.full_name} is not a map")
    return field.message_type.fields_by_name[part]


def _with(field: FieldDescriptor, values: list[Any]) -> Message:
    if field.containing_type is None:
        raise ValueError(f"{field.full_name} is not a field of a message")
    message = GetMessageClass(field.containing_type)()
    _put(message, field, values)
    return message


def _put(message: Message, field: FieldDescriptor, values: list[Any]) -> None:
    target = getattr(message, field.name)
    if is_map(field):
        _put_in_map(target, field, values)
    elif is_repeated(field):
        target.extend(values)
    elif field.message_type:
        target.SetInParent()
        target.CopyFrom(values[0])
    else:
        setattr(message, field.name, values[0])


def _put_in_map(target: Any, field: FieldDescriptor, values: list[Any]) -> None:
    has_text_keys = _entry(field, "key").type == FieldDescriptor.TYPE_STRING
    for number, value in enumerate(values):
        key = f"key {number}" if has_text_keys else number
        if isinstance(value, Message):
            target[key].CopyFrom(value)
        else:
            target[key] = value
