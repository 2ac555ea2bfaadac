"""Runs the published protobuf definitions of a family (``PUBLISHED``) in a separate process, as a module.

A process can load only one definition of a full name, and the project's definitions have the same names. This process
reads one command per line from stdin and writes one result per line to stdout, both as JSON with messages in base64.
It ends when stdin is closed. The tests' side is in ``conftest.py``.
"""

import importlib
import json
import sys
from base64 import b64decode, b64encode
from types import ModuleType
from typing import Any

import grpc
from google.protobuf import descriptor_pool, json_format
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.internal import builder
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.support.protobuf import samples

# The generated modules of the .proto files that declare the services, without their suffixes.
PUBLISHED = {
    "tensorflow": ("tensorflow_serving.apis.prediction_service", "tensorflow_serving.apis.model_service"),
    "health": ("grpc_health.v1.health",),
    "open_inference": ("tritonclient.grpc.service",),
}


def add_missing_modules() -> None:
    """Create the two modules that tensorflow-protobuf 2.11.0 imports but does not contain.

    TensorFlow 2.11 moved the enumeration of status codes, which are those of gRPC, to a folder ``tsl`` that is missing
    from the package; the messages for a model's status import it. TensorFlow Serving's folder ``config`` is missing
    too: the model service imports one message of it for a call that the project does not use, so it is left empty.
    """
    codes = FileDescriptorProto(
        name="tensorflow/tsl/protobuf/error_codes.proto", package="tensorflow.error", syntax="proto3"
    )
    enumeration = codes.enum_type.add(name="Code")
    # In the order of their numbers, because proto3 requires zero to be first.
    for status in sorted(grpc.StatusCode, key=lambda status: status.value[0]):
        enumeration.value.add(name=status.name, number=status.value[0])
    _add_module(codes)

    config = FileDescriptorProto(
        name="tensorflow_serving/config/model_server_config.proto",
        package="tensorflow.serving",
        syntax="proto3",
    )
    config.message_type.add(name="ModelServerConfig")
    _add_module(config)


def _add_module(file: FileDescriptorProto) -> None:
    """Register the module that would have been generated from ``file``, and its packages."""
    *packages, stem = file.name.removesuffix(".proto").split("/")
    for depth in range(2, len(packages) + 1):
        package = ".".join(packages[:depth])
        sys.modules.setdefault(package, ModuleType(package))
    name = ".".join([*packages, f"{stem}_pb2"])
    module = ModuleType(name)
    added = descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
    builder.BuildMessageAndEnumDescriptors(added, vars(module))
    builder.BuildTopDescriptorsAndMessages(added, name, vars(module))
    sys.modules[name] = module


class ThirdParty:
    """The commands: each public method is one."""

    def __init__(self, family: str) -> None:
        if family == "tensorflow":
            add_missing_modules()
        files = [importlib.import_module(f"{name}_pb2").DESCRIPTOR for name in PUBLISHED[family]]
        self._services = [service for file in files for service in file.services_by_name.values()]

    def describe(self) -> str:
        """All definitions as a FileDescriptorSet, in which each file follows its imports."""
        files: dict[str, FileDescriptorProto] = {}
        for service in self._services:
            _collect(service.file, files)
        return _encoded(FileDescriptorSet(file=files.values()))

    def samples(self, message: str) -> list[str]:
        """Messages of that name with every published field set."""
        return [_encoded(sample) for sample in samples.whole(_descriptor(message))]

    def read(self, message: str, data: str) -> dict[str, Any]:
        """Parse a message; returns its content, and its serialization."""
        received = _class(message).FromString(b64decode(data))
        return {"content": _content(received), "data": _encoded(received)}

    def write(self, message: str, content: dict[str, Any]) -> str:
        """Serialize a message with this content."""
        return _encoded(json_format.ParseDict(content, _class(message)()))


def _collect(file: FileDescriptor, files: dict[str, FileDescriptorProto]) -> None:
    if file.name in files:
        return
    for imported in file.dependencies:
        _collect(imported, files)
    file.CopyToProto(files.setdefault(file.name, FileDescriptorProto()))


def _descriptor(message: str) -> Descriptor:
    return descriptor_pool.Default().FindMessageTypeByName(message)


def _class(message: str) -> type[Message]:
    return GetMessageClass(_descriptor(message))


def _content(message: Message) -> Any:
    return json_format.MessageToDict(message, preserving_proto_field_name=True, use_integers_for_enums=True)


def _encoded(message: Message) -> str:
    return b64encode(message.SerializeToString(deterministic=True)).decode()


def main() -> None:
    """Execute commands until stdin is closed."""
    third_party = ThirdParty(sys.argv[1])
    for line in sys.stdin:
        command = json.loads(line)
        response = getattr(third_party, command.pop("command"))(**command)
        print(json.dumps(response), flush=True)


if __name__ == "__main__":
    main()
