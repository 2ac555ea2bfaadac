"""The Open Inference Protocol of the service: the same model and engine, with the statuses and details of Triton.

A model of this protocol has one datatype, so there are two of the same engine: one takes image files, BYTES
``[-1,1]``, and one, whose name ends with ``-pixels``, pictures as FP32. A third, ``-detector``, takes pictures as UINT8
and has several outputs: see :mod:`devstack.fpga.detector`.
"""

import grpc
import numpy as np
from numpy.typing import NDArray

from devstack.fpga import detector
from devstack.fpga.requests import IMAGE_SHAPE, INPUT, MAX_BATCH, OUTPUT, Batch, Model, Refusal, check_files
from protos import open_inference_pb2 as pb

# The name of the model that takes pictures, after that of the one that takes files.
PIXELS = "-pixels"
DETECTOR = "-detector"

_VALUES = int(np.prod(IMAGE_SHAPE))


def check_model(name: str, version: str, model: Model) -> None:
    """Check that a request names the model, for files or for pictures, and its version or none.

    Raises:
        Refusal: it names another.
    """
    if name not in (model.name, model.name + PIXELS, model.name + DETECTOR):
        raise Refusal(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{name}' is not found")
    if version and not version.isdecimal():
        raise _invalid(f"failed to get model version from specified version string '{version}'")
    if version and int(version) != model.version:
        raise Refusal(
            grpc.StatusCode.NOT_FOUND,
            f"Request for unknown model: '{name}' version {version} is not found",
        )


def metadata(name: str, model: Model) -> pb.ModelMetadataResponse:
    """What the model takes and returns."""
    if name.endswith(DETECTOR):
        return _detector_metadata(name, model)
    pixels = name.endswith(PIXELS)
    return pb.ModelMetadataResponse(
        name=name,
        versions=[str(model.version)],
        platform="fpga",
        inputs=[
            pb.ModelMetadataResponse.TensorMetadata(
                name=INPUT,
                datatype="FP32" if pixels else "BYTES",
                shape=(-1, *IMAGE_SHAPE) if pixels else (-1, 1),
            )
        ],
        outputs=[
            pb.ModelMetadataResponse.TensorMetadata(name=OUTPUT, datatype="FP32", shape=(-1, *model.output_shape))
        ],
    )


def _detector_metadata(name: str, model: Model) -> pb.ModelMetadataResponse:
    tensor = pb.ModelMetadataResponse.TensorMetadata
    return pb.ModelMetadataResponse(
        name=name,
        versions=[str(model.version)],
        platform="numpy",
        inputs=[tensor(name=INPUT, datatype="UINT8", shape=(-1, detector.SIDE, detector.SIDE, 3))],
        outputs=[
            tensor(name=output, datatype=datatype, shape=shape)
            for output, (datatype, shape) in detector.OUTPUTS.items()
        ],
    )


def detected(request: pb.ModelInferRequest, model: Model) -> bytes:
    """The response of the detector to a request.

    Raises:
        Refusal: it is not of raw UINT8 pictures, or asks for another output.
    """
    if len(request.inputs) != 1 or request.inputs[0].datatype != "UINT8" or len(request.raw_input_contents) != 1:
        raise _invalid(f"model '{request.model_name}' expects one input of UINT8 in raw contents")
    (tensor,), (raw,) = request.inputs, request.raw_input_contents
    shape = tuple(tensor.shape)
    if shape[1:] != (detector.SIDE, detector.SIDE, 3) or len(raw) != np.prod(shape):
        raise _invalid(f"unexpected shape for input '{INPUT}': got {list(shape)} and {len(raw)} bytes")
    outputs = detector.detect(np.frombuffer(raw, np.uint8).reshape(shape))
    answer = pb.ModelInferResponse(model_name=request.model_name, model_version=str(model.version), id=request.id)
    for name in [one.name for one in request.outputs] or outputs:
        if name not in outputs:
            raise _invalid(f"unexpected inference output '{name}' for model '{request.model_name}'")
        values = outputs[name]
        answer.outputs.add(name=name, datatype=detector.OUTPUTS[name][0], shape=values.shape)
        strings = (
            [part for one in values.ravel() for part in (len(one).to_bytes(4, "little"), one)]
            if (values.dtype == object)
            else [values.tobytes()]
        )
        answer.raw_output_contents.append(b"".join(strings))
    return answer.SerializeToString()


def batch_of(request: pb.ModelInferRequest) -> Batch:
    """The images of a request, in raw or typed contents.

    Raises:
        Refusal: an input or output has another name, or the input another type, shape or size.
    """
    for output in request.outputs:
        if output.name != OUTPUT:
            raise _invalid(f"unexpected inference output '{output.name}' for model '{request.model_name}'")
    if len(request.inputs) != 1:
        raise _invalid(f"expected 1 inputs but got {len(request.inputs)} inputs for model '{request.model_name}'")
    (tensor,) = request.inputs
    if tensor.name != INPUT:
        raise _invalid(f"unexpected inference input '{tensor.name}' for model '{request.model_name}'")
    expected = "FP32" if request.model_name.endswith(PIXELS) else "BYTES"
    if tensor.datatype != expected:
        raise _invalid(
            f"inference input '{INPUT}' data-type is '{tensor.datatype}', but model '{request.model_name}' "
            f"expects '{expected}'"
        )
    raw = request.raw_input_contents[0] if request.raw_input_contents else None
    shape, rest = tuple(tensor.shape), IMAGE_SHAPE if expected == "FP32" else (1,)
    if len(shape) != 1 + len(rest) or shape[1:] != rest:
        raise _invalid(f"unexpected shape for input '{INPUT}': expected [-1,{rest}], got {list(shape)}")
    if not 1 <= shape[0] <= MAX_BATCH:
        raise _invalid(f"inference request batch-size must be <= {MAX_BATCH} for '{request.model_name}'")
    return _pixels(tensor, raw, shape) if expected == "FP32" else _files(tensor, raw, shape[0])


def inferred(request: pb.ModelInferRequest, model: Model, scores: NDArray[np.float32] | None) -> bytes:
    """A ModelInferResponse with ``scores`` as raw contents; without an output for None."""
    answer = pb.ModelInferResponse(model_name=request.model_name, model_version=str(model.version), id=request.id)
    if scores is not None:
        answer.outputs.add(name=OUTPUT, datatype="FP32", shape=scores.shape)
        answer.raw_output_contents.append(scores.astype("<f4", copy=False).tobytes())
    return answer.SerializeToString()


def _files(tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None, count: int) -> list[bytes]:
    files = list(tensor.contents.bytes_contents) if raw is None else _elements(raw)
    if len(files) != count:
        raise _invalid(f"expected {count} string inference elements for inference input '{INPUT}', got {len(files)}")
    check_files(files)
    return files


def _elements(raw: bytes) -> list[bytes]:
    """The elements of raw BYTES: each after its length in four bytes, little-endian."""
    found, at = [], 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        at += 4 + size
        if at > len(raw):
            raise _invalid(f"incomplete string data for inference input '{INPUT}'")
        found.append(raw[at - size : at])
    return found


def _pixels(
    tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    values = np.array(tensor.contents.fp32_contents, np.float32) if raw is None else _numbers(raw)
    if values.size != shape[0] * _VALUES:
        raise _invalid(f"unexpected total byte size for input '{INPUT}': expected {4 * _VALUES}, got {values.nbytes}")
    return values.reshape(shape)


def _numbers(raw: bytes) -> NDArray[np.float32]:
    if len(raw) % 4:
        raise _invalid(f"unexpected total byte size for input '{INPUT}': {len(raw)} are not whole numbers")
    return np.frombuffer(raw, "<f4")


def _invalid(details: str) -> Refusal:
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, details)
