"""The published definitions, in a process of their own: ``python -m tests.protos.third_party tensorflow|health``.

One process holds one definition of a name, and the project's own have the same names. So this one loads the
published ones, takes a command a line on stdin, and answers each with a line on stdout, both JSON; protobuf's bytes
are base64 in them. It ends when stdin does. ``conftest.py`` has the other end.
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

from tests.protos import echo_service, samples

# The .proto files that declare the services, as the generated modules are called without their endings.
PUBLISHED = {
    "tensorflow": ("tensorflow_serving.apis.prediction_service", "tensorflow_serving.apis.model_service"),
    "health": ("grpc_health.v1.health",),
}


def supply_what_tensorflow_protobuf_lacks() -> None:
    """Make the two modules that tensorflow-protobuf 2.11.0 imports and does not contain.

    TensorFlow 2.11 moved the enumeration of status codes, which are gRPC's, to a folder ``tsl`` that the package was
    built without; without it, nothing that speaks of a model's status can be imported. TensorFlow Serving's folder
    ``config`` is missing too, and the model service's file needs one message of it, for reloading a configuration:
    a call that the project does not have, so the message stays empty.
    """
    codes = FileDescriptorProto(
        name="tensorflow/tsl/protobuf/error_codes.proto", package="tensorflow.error", syntax="proto3"
    )
    enumeration = codes.enum_type.add(name="Code")
    # In the order of their numbers, since proto3 wants the zero first.
    for status in sorted(grpc.StatusCode, key=lambda status: status.value[0]):
        enumeration.value.add(name=status.name, number=status.value[0])
    _supply(codes)

    config = FileDescriptorProto(
        name="tensorflow_serving/config/model_server_config.proto",
        package="tensorflow.serving",
        syntax="proto3",
    )
    config.message_type.add(name="ModelServerConfig")
    _supply(config)


def _supply(file: FileDescriptorProto) -> None:
    """Register the module that would have been generated from ``file``, and the packages that it lies in."""
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
    """The commands; each method but the constructor is one."""

    def __init__(self, family: str) -> None:
        if family == "tensorflow":
            supply_what_tensorflow_protobuf_lacks()
        files = [importlib.import_module(f"{name}_pb2").DESCRIPTOR for name in PUBLISHED[family]]
        self._services = [service for file in files for service in file.services_by_name.values()]
        self._generated = {
            name: code
            for file in PUBLISHED[family]
            for name, code in vars(importlib.import_module(f"{file}_pb2_grpc")).items()
        }
        self._servers: list[echo_service.Server] = []

    def describe(self) -> str:
        """All definitions, as a FileDescriptorSet in which a file follows what it imports."""
        files: dict[str, FileDescriptorProto] = {}
        for service in self._services:
            _collect(service.file, files)
        return _encoded(FileDescriptorSet(file=files.values()))

    def samples(self, message: str) -> list[str]:
        """Messages of that name with every published field set."""
        return [_encoded(sample) for sample in samples.whole(_descriptor(message))]

    def read(self, message: str, data: str) -> dict[str, Any]:
        """What a message's bytes say, and the bytes that it is written as again."""
        received = _class(message).FromString(b64decode(data))
        return {"content": _content(received), "data": _encoded(received)}

    def write(self, message: str, content: dict[str, Any]) -> str:
        """The bytes of a message with this content."""
        return _encoded(json_format.ParseDict(content, _class(message)()))

    def call(self, address: str, service: str, method: str, content: dict[str, Any]) -> Any:
        """Call a server through the published client; the first answer's content, or the refusal's code."""
        descriptor = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
        request = json_format.ParseDict(content, GetMessageClass(descriptor.input_type)())
        with grpc.insecure_channel(address) as channel:
            stub = self._generated[f"{descriptor.containing_service.name}Stub"](channel)
            try:
                answer = getattr(stub, method)(request, timeout=10)
                return _content(answer if isinstance(answer, Message) else next(answer))
            except grpc.RpcError as error:
                return {"refused": error.code().name}

    def serve(self) -> str:
        """Start a server of every published service; its address."""
        server = echo_service.Server()
        self._servers.append(server)
        for name in (service.name for service in self._services):
            # The package for health checking brings a whole server; the others are generated code only.
            answering = (
                _health_servicer() if name == "Health" else echo_service.servicer(self._generated[f"{name}Servicer"])
            )
            self._generated[f"add_{name}Servicer_to_server"](answering, server.grpc)
        server.grpc.start()
        return server.address

    def stop(self) -> None:
        """Stop the servers that were started."""
        while self._servers:
            self._servers.pop().stop()


def _health_servicer() -> Any:
    health = importlib.import_module("grpc_health.v1.health")
    answering = health.HealthServicer()
    messages = importlib.import_module("grpc_health.v1.health_pb2")
    answering.set("up", messages.HealthCheckResponse.SERVING)
    answering.set("down", messages.HealthCheckResponse.NOT_SERVING)
    return answering


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
    """Answer commands until stdin ends."""
    third_party = ThirdParty(sys.argv[1])
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(third_party, command.pop("command"))(**command)
        print(json.dumps(answer), flush=True)
    third_party.stop()


if __name__ == "__main__":
    main()
