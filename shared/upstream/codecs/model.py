"""What a model takes and returns, as the gateway calls it: from the settings, and from the service's metadata.

A setting wins over the metadata, because some servers report less than they take. What is contradictory or ambiguous is
an error that names the setting to add or to change; nothing is guessed. Decisions only, no I/O.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, NoReturn

from shared.errors import Misconfigured
from shared.quoting import listed, printable
from shared.settings import Datatype, Fit, InputForm, Layout, OutputKind, Preprocessing, ServiceSettings, prefix

_CHANNELS = 3
_ELEMENT_BYTES = {Datatype.BYTES: 1, Datatype.UINT8: 1, Datatype.FP16: 2, Datatype.FP32: 4}
# The shorter side to which a picture is resized before the crop; a larger crop needs no resizing.
_SIZE, _RESIZE = Preprocessing().size, Preprocessing().resize


class TensorMetadata(NamedTuple):
    """An input or output as the service describes it; sizes of -1 vary, and ``shape`` is None where it is not known."""

    name: str
    datatype: str
    shape: tuple[int, ...] | None

    def __str__(self) -> str:
        shape = "of any shape" if self.shape is None else _text(self.shape)
        return f"{printable(self.datatype, 20)} {shape}"


class ModelMetadata(NamedTuple):
    """A model as the service describes it; ``max_batch`` is None where the service does not report it."""

    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    max_batch: int | None = None


class ModelInterface(NamedTuple):
    """The input and the output that the gateway uses, and how a picture becomes the input.

    ``batched`` says whether the first dimension is that of the images, and ``max_batch`` how many it may have;
    ``file_shape`` is what follows it in a tensor of files. ``outputs`` are all that the metadata has; an empty
    ``output_name`` means every output.
    """

    input_name: str
    datatype: Datatype
    output_name: str
    preprocessing: Preprocessing
    layout: Layout = Layout.NHWC
    batched: bool = True
    max_batch: int = 1
    file_shape: tuple[int, ...] = ()
    outputs: tuple[TensorMetadata, ...] = ()

    def __str__(self) -> str:
        shape = _text(self.shape(-1) if self.batched else self.shape(1))
        returned = repr(self.output_name) if self.output_name else "all its outputs"
        return f"takes {self.datatype} {shape} as {self.input_name!r} and returns {returned}"

    @property
    def takes_files(self) -> bool:
        return self.datatype is Datatype.BYTES

    @property
    def pixel_shape(self) -> tuple[int, int, int]:
        """The shape of one picture."""
        size = self.preprocessing.size
        return (size, size, _CHANNELS) if self.layout is Layout.NHWC else (_CHANNELS, size, size)

    @property
    def picture_bytes(self) -> int:
        """The bytes of one picture as a tensor."""
        return math.prod(self.pixel_shape) * _ELEMENT_BYTES[self.datatype]

    def shape(self, images: int) -> tuple[int, ...]:
        """The shape of a tensor of that many images."""
        one = self.file_shape if self.takes_files else self.pixel_shape
        return (images, *one) if self.batched else one


def from_settings(service: ServiceSettings) -> ModelInterface:
    """The interface of a service whose settings say all of it."""
    encoded = service.input_form is InputForm.ENCODED
    return ModelInterface(
        input_name=service.input_name,
        datatype=Datatype.BYTES if encoded else service.input_type or Datatype.FP32,
        output_name=service.output_name,
        preprocessing=service.preprocessing,
        layout=service.input_layout or Layout.NHWC,
        max_batch=service.max_batch or 1,
    )


def without_metadata(service: ServiceSettings) -> ModelInterface:
    """The interface of a service that does not report its models' metadata.

    Raises:
        Misconfigured: the settings leave something open.
    """
    encoded = service.input_form is InputForm.ENCODED
    is_open = {
        "INPUT_NAME": not service.input_name,
        "OUTPUT_NAME": not service.output_name and service.output is not OutputKind.RAW,
        "INPUT_TYPE": not encoded and not service.input_type,
        "IMAGE_SIZE": not encoded and not service.preprocessing.size,
    }
    if missing := [name for name, left_open in is_open.items() if left_open]:
        settings = [prefix(service.name) + name for name in missing]
        # Envoy answers as a service without the method where it has no route for the host.
        raise Misconfigured(
            f"The service does not report what its model takes: set {', '.join(settings)}. "
            "Or a router in front of it does not know the host: AUTHORITY says which one it is asked for.",
            settings=settings,
        )
    return from_settings(service)._replace(preprocessing=_for_files(service))


def from_metadata(service: ServiceSettings, metadata: ModelMetadata) -> ModelInterface:
    """The interface by the settings and, where they leave something open, by the metadata.

    Raises:
        Misconfigured: they contradict each other, or leave something ambiguous; names the setting.
    """
    if not metadata.inputs:  # as KServe's own server answers for models that describe nothing
        return without_metadata(service)
    tensor = _chosen(service, metadata.inputs, service.input_name, "INPUT_NAME", "input")
    output = _output(service, metadata.outputs)
    datatype = _datatype(service, tensor)
    make = _files if datatype is Datatype.BYTES else _pixels
    found = make(service, tensor, ModelInterface(tensor.name, datatype, output, service.preprocessing))
    return found._replace(max_batch=_max_batch(service, metadata, tensor, found), outputs=metadata.outputs)


def _output(service: ServiceSettings, outputs: Sequence[TensorMetadata]) -> str:
    """The name of the output; empty for all of them."""
    if service.output is OutputKind.RAW and not service.output_name:
        return ""
    if len(outputs) > 1 and not service.output_name:
        names = listed([one.name for one in outputs])
        _fault(
            service,
            "OUTPUT",
            f"is {service.output}, which is about one output; the model has several: {names}. Set OUTPUT_NAME to "
            "one of them, or OUTPUT to raw, which returns all",
        )
    if service.output_name and not outputs:
        return service.output_name
    found = _chosen(service, outputs, service.output_name, "OUTPUT_NAME", "output")
    if service.output is OutputKind.CLASSES and found.shape is not None and len(found.shape) > 2:
        _fault(
            service,
            "OUTPUT",
            f"is classes, [N, classes]; the model returns {found} as {printable(found.name)!r}. Set it to raw for what "
            "is no classifier, as features or boxes, or to scores for the values alone",
        )
    return found.name


def _chosen(
    service: ServiceSettings, tensors: Sequence[TensorMetadata], name: str, setting: str, what: str
) -> TensorMetadata:
    """The tensor of that name; without a name, the only one."""
    names = listed([one.name for one in tensors]) or "none"
    if name:
        for one in tensors:
            if one.name == name:
                return one
        _fault(service, setting, f"is {name!r}; the model's {what}s are: {names}")
    if len(tensors) != 1:
        _fault(service, setting, f"is needed, because the model has several {what}s or none: {names}")
    return tensors[0]


def _datatype(service: ServiceSettings, tensor: TensorMetadata) -> Datatype:
    if service.input_type:
        wanted = service.input_type
    elif service.input_form is InputForm.ENCODED:
        wanted = Datatype.BYTES
    else:
        try:
            wanted = Datatype(tensor.datatype)
        except ValueError:
            _fault(service, "INPUT_TYPE", f"is needed: the model takes {tensor}, of which no picture can be made")
    if service.input_form is InputForm.TENSOR and wanted is Datatype.BYTES:
        _fault(service, "INPUT_FORM", f"is tensor; the model takes {tensor}, which are files")
    # Files are accepted for a tensor by servers that decode them (OpenVINO Model Server); nothing else is converted.
    if wanted is not Datatype.BYTES and tensor.datatype != wanted:
        _fault(service, "INPUT_TYPE", f"is {wanted}; the model takes {tensor}")
    return wanted


def _files(service: ServiceSettings, tensor: TensorMetadata, found: ModelInterface) -> ModelInterface:
    """A tensor of files, ``[N]``, ``[1]``, ``[N,1]`` or ``[]``; or of numbers, where the service decodes files."""
    how = _for_files(service)
    if how.fit is not Fit.CROP:
        _fault(service, "RESIZE", f"is {how.fit}; the model takes {tensor}, files that it resizes itself")
    shape = tensor.shape
    if tensor.datatype != Datatype.BYTES or shape is None:
        return found._replace(preprocessing=how)
    if any(size not in (-1, 1) for size in shape):
        _fault(service, "INPUT_NAME", f"chooses {tensor}; one file for an image is needed, as in BYTES [-1] or [-1,1]")
    batched = shape[:1] == (-1,)
    rest = shape[1:] if batched else shape
    return found._replace(preprocessing=how, batched=batched, file_shape=(1,) * len(rest))


def _pixels(service: ServiceSettings, tensor: TensorMetadata, found: ModelInterface) -> ModelInterface:
    """A tensor of pictures, ``[N,H,W,3]`` or ``[N,3,H,W]``, or one picture without the first dimension."""
    shape, size = tensor.shape, service.preprocessing.size
    if shape is None:
        if not size:
            _fault(service, "IMAGE_SIZE", f"is needed: the model takes {tensor}")
        layout = service.input_layout or Layout.NHWC
        return found._replace(layout=layout, preprocessing=_sized(service, size))
    if len(shape) not in (3, 4):
        _fault(service, "INPUT_NAME", f"chooses {tensor}; a picture has three dimensions, and several have four")
    batched, picture = len(shape) == 4, shape[-3:]
    if batched and shape[0] not in (-1, 1):
        _fault(service, "MAX_BATCH", f"cannot be met: the model takes {tensor}, always {shape[0]} images in a call")
    layout = _layout(service, tensor, picture)
    height, width = picture[:2] if layout is Layout.NHWC else picture[1:]
    sides = {side for side in (height, width) if side != -1}
    if len(sides) > 1:
        _fault(service, "IMAGE_SIZE", f"is the side of a square; the model takes {tensor}, which is none")
    if size and sides and sides != {size}:
        _fault(service, "IMAGE_SIZE", f"is {size}; the model takes {tensor}")
    if not size and not sides:
        _fault(service, "IMAGE_SIZE", f"is needed: the model takes {tensor}, pictures of any size")
    how = _sized(service, size or sides.pop())
    return found._replace(layout=layout, batched=batched, preprocessing=how)


def _layout(service: ServiceSettings, tensor: TensorMetadata, picture: tuple[int, ...]) -> Layout:
    last, first = picture[2] in (_CHANNELS, -1), picture[0] in (_CHANNELS, -1)
    given = service.input_layout
    if given is not None:
        if last if given is Layout.NHWC else first:
            return given
        _fault(service, "INPUT_LAYOUT", f"is {given}; the model takes {tensor}")
    # Of two dimensions that may both be the channels, one that says 3 is no more certain than one of any size.
    if picture[2] == _CHANNELS and picture[0] != _CHANNELS:
        return Layout.NHWC
    if picture[0] == _CHANNELS and picture[2] != _CHANNELS:
        return Layout.NCHW
    if last or first:
        _fault(service, "INPUT_LAYOUT", f"is needed: the model takes {tensor}, whose channels may be its first or last")
    raise _misconfigured(service, "INPUT_NAME", f"chooses {tensor}; three channels, the first or the last, are needed")


def _for_files(service: ServiceSettings) -> Preprocessing:
    """What a file is made to that cannot be forwarded as it is."""
    how = service.preprocessing
    return _sized(service, how.size or min(_SIZE, how.resize or _SIZE))


def _sized(service: ServiceSettings, size: int) -> Preprocessing:
    resize = (service.preprocessing.fit is Fit.CROP and service.preprocessing.resize) or max(_RESIZE, size)
    if resize < size:
        _fault(service, "IMAGE_RESIZE", f"is {resize}, smaller than the pictures of {size} that the model takes")
    return replace(service.preprocessing, size=size, resize=resize)


def _max_batch(service: ServiceSettings, metadata: ModelMetadata, tensor: TensorMetadata, found: ModelInterface) -> int:
    free = found.batched and (tensor.shape is None or tensor.shape[:1] == (-1,))
    limit = metadata.max_batch or None
    if service.max_batch > 1 and not free:
        _fault(service, "MAX_BATCH", f"is {service.max_batch}; the model takes {tensor}, one image in a call")
    if limit and service.max_batch > limit:
        _fault(service, "MAX_BATCH", f"is {service.max_batch}; the model's own limit is {limit}")
    # What a model without a limit takes is not known: one image is right for all of them.
    return (service.max_batch or limit or 1) if free else 1


def _text(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _fault(service: ServiceSettings, key: str, what: str) -> NoReturn:
    raise _misconfigured(service, key, what)


def _misconfigured(service: ServiceSettings, key: str, what: str) -> Misconfigured:
    name = prefix(service.name) + key
    return Misconfigured(f"{name} {what}.", settings=[name])
