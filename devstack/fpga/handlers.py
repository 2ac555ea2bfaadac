"""The gRPC methods of a service: check the key, parse, check, score, respond.

Messages arrive and leave as bytes: a call without a key costs no parsing, and :mod:`devstack.fpga.responses` encodes
responses faster than protobuf.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc

from devstack.fpga import open_inference, requests, responses
from devstack.fpga.access import KeyRing
from devstack.fpga.calls import Calls
from devstack.fpga.engines import Engine
from devstack.fpga.faults import FaultSwitch
from devstack.fpga.health import Health
from devstack.fpga.recorder import Call, KeyShown, Recorder
from devstack.fpga.requests import Model, Refusal
from protos import health_pb2, open_inference_pb2, serving_pb2

logger = logging.getLogger(__name__)

_SAMPLED = re.compile("00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f][13579bdf]")

# Generic in gRPC's type stubs only: a `type` statement is not evaluated at run time.
type Context = grpc.aio.ServicerContext[bytes, bytes]
type Handler = grpc.RpcMethodHandler[bytes, bytes]
type Answer = Callable[[bytes], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a service that the methods use. ``keys`` is None without keys; ``drop`` ends every connection."""

    model: Model
    engine: Engine
    health: Health
    faults: FaultSwitch
    recorder: Recorder
    calls: Calls
    keys: KeyRing | None
    drop: Callable[[], object]


def handlers(parts: Parts) -> list[grpc.GenericRpcHandler]:
    """The handlers of all methods, for a gRPC server."""
    methods = _Methods(parts)
    unary = {
        "tensorflow.serving.PredictionService": {
            "Predict": methods.predict,
            "GetModelMetadata": methods.get_model_metadata,
        },
        "tensorflow.serving.ModelService": {"GetModelStatus": methods.get_model_status},
        "inference.GRPCInferenceService": {
            "ServerReady": methods.server_ready,
            "ModelReady": methods.model_ready,
            "ModelMetadata": methods.model_metadata,
            "ModelInfer": methods.model_infer,
        },
        "grpc.health.v1.Health": {"Check": methods.check},
    }
    result = []
    for service, answers in unary.items():
        table = {name: _unary(parts, f"/{service}/{name}", answer) for name, answer in answers.items()}
        if service == "grpc.health.v1.Health":
            table["Watch"] = _watch(parts, f"/{service}/Watch")
        result.append(grpc.method_handlers_generic_handler(service, table))
    return result


class _Methods:
    """From the bytes of a request to the bytes of the response; Refusal is raised for any other status than OK."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._spec = responses.spec(parts.model)

    async def predict(self, data: bytes) -> bytes:
        model, faults = self._parts.model, self._parts.faults
        await faults.before(self._parts.drop)
        request = requests.read(serving_pb2.PredictRequest, data)
        requests.check_spec(request.model_spec, model)
        requests.check_filter(request.output_filter)
        scores = await self._parts.engine.score(requests.batch_of(request))
        signature = request.model_spec.signature_name
        answered = responses.spec(model, signature) if signature else self._spec
        return responses.prediction(answered, faults.alter(scores))

    async def get_model_metadata(self, data: bytes) -> bytes:
        request = requests.read(serving_pb2.GetModelMetadataRequest, data)
        requests.check_spec(request.model_spec, self._parts.model)
        requests.check_metadata_fields(request.metadata_field)
        return responses.metadata(self._parts.model, request.model_spec.signature_name).SerializeToString()

    async def get_model_status(self, data: bytes) -> bytes:
        request = requests.read(serving_pb2.GetModelStatusRequest, data)
        requests.check_spec(request.model_spec, self._parts.model)
        answer = responses.status(self._parts.model, available=self._parts.health.serving)
        return answer.SerializeToString()

    async def server_ready(self, data: bytes) -> bytes:
        requests.read(open_inference_pb2.ServerReadyRequest, data)
        return open_inference_pb2.ServerReadyResponse(ready=self._parts.health.serving).SerializeToString()

    async def model_ready(self, data: bytes) -> bytes:
        request = requests.read(open_inference_pb2.ModelReadyRequest, data)
        ready = self._parts.health.serving
        try:
            open_inference.check_model(request.name, request.version, self._parts.model)
        except Refusal:
            ready = False
        return open_inference_pb2.ModelReadyResponse(ready=ready).SerializeToString()

    async def model_metadata(self, data: bytes) -> bytes:
        request = requests.read(open_inference_pb2.ModelMetadataRequest, data)
        open_inference.check_model(request.name, request.version, self._parts.model)
        return open_inference.metadata(request.name, self._parts.model).SerializeToString()

    async def model_infer(self, data: bytes) -> bytes:
        faults = self._parts.faults
        await faults.before(self._parts.drop)
        request = requests.read(open_inference_pb2.ModelInferRequest, data)
        open_inference.check_model(request.model_name, request.model_version, self._parts.model)
        if request.model_name.endswith(open_inference.DETECTOR):
            return await asyncio.to_thread(open_inference.detected, request, self._parts.model)
        scores = await self._parts.engine.score(open_inference.batch_of(request))
        return open_inference.inferred(request, self._parts.model, faults.alter(scores))

    async def check(self, data: bytes) -> bytes:
        name = requests.read(health_pb2.HealthCheckRequest, data).service
        status = self._parts.health.status(name)
        if status is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"unknown service {name!r}")
        return health_pb2.HealthCheckResponse(status=status).SerializeToString()


def _unary(parts: Parts, method: str, answer: Answer) -> Handler:
    async def handle(data: bytes, context: Context) -> bytes:
        try:
            with parts.calls.running():
                _admit(parts, method, data, context)
                return await answer(data)
        except Refusal as refusal:
            return await context.abort(refusal.code, refusal.details)
        except asyncio.CancelledError:
            if not parts.calls.ending:
                raise  # the caller has cancelled it
            return await context.abort(grpc.StatusCode.UNAVAILABLE, "the service is stopping")
        except Exception:
            logger.exception("%s failed", method)
            return await context.abort(grpc.StatusCode.INTERNAL, "the service failed; see its log")

    return grpc.unary_unary_rpc_method_handler(handle)


def _watch(parts: Parts, method: str) -> Handler:
    async def handle(data: bytes, context: Context) -> AsyncIterator[bytes]:
        try:
            _admit(parts, method, data, context)
            name = requests.read(health_pb2.HealthCheckRequest, data).service
        except Refusal as refusal:
            await context.abort(refusal.code, refusal.details)
        async for status in parts.health.watch(name):
            yield health_pb2.HealthCheckResponse(status=status).SerializeToString()

    return grpc.unary_stream_rpc_method_handler(handle)


def _admit(parts: Parts, method: str, data: bytes, context: Context) -> None:
    """Record the call, and refuse it if the service has keys and the call none of them."""
    metadata: Any = context.invocation_metadata() or ()  # pairs; a value is bytes where the name ends in -bin
    given = next((value for name, value in metadata if name == "authorization"), None)
    key = _key(parts.keys, given)
    _log_trace(method, metadata)
    parts.recorder.add(
        Call(
            method=method,
            key=key,
            peer=context.peer(),
            timeout=context.time_remaining(),
            request_bytes=len(data),
            metadata={name: _text(value) for name, value in metadata if name != "authorization"},
        )
    )
    if parts.keys and key in ("none", "wrong"):
        reason = "no key: send it as the metadata `authorization`" if key == "none" else "the key is not valid"
        raise Refusal(grpc.StatusCode.UNAUTHENTICATED, reason)


def _log_trace(method: str, metadata: Any) -> None:
    """Log a call of a trace that is sampled (https://www.w3.org/TR/trace-context/)."""
    trace = next((value for name, value in metadata if name == "traceparent"), "")
    if found := _SAMPLED.fullmatch(trace):
        logger.info("%s in trace %s, called by span %s", method, found["trace"], found["span"])


def _key(keys: KeyRing | None, given: str | None) -> KeyShown:
    if given is None:
        return "none"
    if keys is None:
        return "unchecked"
    return keys.match(given) or "wrong"


def _text(value: str | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else value
