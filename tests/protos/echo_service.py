"""Prediction and model services that answer with what they were asked, so that a test sees what arrived.

They look their messages up by name, and so work with whichever definitions their process has loaded: the project's
in the tests, the published ones in the process of ``third_party.py``.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass

# A model's version that is being served, as ModelVersionStatus.State numbers it.
AVAILABLE = 30


def predict(request: Any, _context: grpc.ServicerContext) -> Any:
    """The inputs that the output filter names, or all, as outputs."""
    response = _new("tensorflow.serving.PredictResponse")
    response.model_spec.CopyFrom(request.model_spec)
    for name in request.output_filter or request.inputs:
        response.outputs[name].CopyFrom(request.inputs[name])
    return response


def get_model_metadata(request: Any, _context: grpc.ServicerContext) -> Any:
    """For each field asked for, a signature of one input, packed; ``method_name`` is the asked signature's name."""
    signatures = _new("tensorflow.serving.SignatureDefMap")
    signature = signatures.signature_def["serving_default"]
    signature.method_name = request.model_spec.signature_name
    images = signature.inputs["images"]
    images.name = "images:0"
    images.dtype = 1
    for size in (-1, 224, 224, 3):
        images.tensor_shape.dim.add(size=size)
    response = _new("tensorflow.serving.GetModelMetadataResponse")
    response.model_spec.CopyFrom(request.model_spec)
    for field in request.metadata_field:
        response.metadata[field].Pack(signatures)
    return response


def get_model_status(request: Any, _context: grpc.ServicerContext) -> Any:
    """The version asked for is being served, and a version after it has failed to load."""
    response = _new("tensorflow.serving.GetModelStatusResponse")
    version = request.model_spec.version.value
    response.model_version_status.add(version=version, state=AVAILABLE)
    failed = response.model_version_status.add(version=version + 1)
    failed.status.error_code = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    failed.status.error_message = "no memory left"
    return response


def servicer(base: Any) -> Any:
    """An instance of a generated servicer class, with those of its methods replaced that this module answers."""
    answering = base()
    for name, method in _METHODS.items():
        if hasattr(base, name):
            setattr(answering, name, method)
    return answering


class Server:
    """A gRPC server on a free loopback port, without TLS; ``address`` is where it listens."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(2)
        self.grpc = grpc.server(self._threads)
        self.address = f"127.0.0.1:{self.grpc.add_insecure_port('127.0.0.1:0')}"

    def stop(self) -> None:
        """End calls and threads; returns when both are gone."""
        self.grpc.stop(grace=None).wait()
        self._threads.shutdown()


def _new(full_name: str) -> Any:
    return GetMessageClass(Default().FindMessageTypeByName(full_name))()


_METHODS = {
    "Predict": predict,
    "GetModelMetadata": get_model_metadata,
    "GetModelStatus": get_model_status,
}
