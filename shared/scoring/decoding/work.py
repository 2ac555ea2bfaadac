"""What is done with an image, as values that a decoder process can be sent."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from shared.scoring import images
from shared.scoring.images.geometry import Placement
from shared.settings import Datatype, Layout, Preprocessing

type Content = bytes | memoryview
type Work = Callable[[bytes], Content]

_PLACEMENT = struct.Struct("<IIBIIdddd")


def with_placement(placement: Placement, content: Content) -> memoryview:
    """A content after where the picture is in it: a result of work is bytes, whatever process did it."""
    return memoryview(b"".join((_PLACEMENT.pack(*placement), content)))


def without_placement(content: Content) -> tuple[Placement, memoryview]:
    """The placement and the content that :func:`with_placement` joined."""
    return Placement(*_PLACEMENT.unpack_from(content)), memoryview(content)[_PLACEMENT.size :]


@dataclass(frozen=True)
class ToTensor:
    """Make the bytes of a picture's tensor; see :func:`shared.scoring.images.outputs.to_pixels`.

    With ``placed`` they are after the picture's placement in them.
    """

    preprocessing: Preprocessing
    max_pixels: int
    datatype: Datatype = Datatype.FP32
    layout: Layout = Layout.NHWC
    placed: bool = False

    def __call__(self, data: bytes) -> memoryview:
        how, limit = self.preprocessing, self.max_pixels
        pixels, placement = images.to_pixels(data, how, limit, datatype=self.datatype, layout=self.layout)
        content = pixels.data.cast("B")
        return with_placement(placement, content) if self.placed else content


@dataclass(frozen=True)
class ToFile:
    """Make a plain image file; see :func:`shared.scoring.images.outputs.to_file`, and ``placed`` above."""

    preprocessing: Preprocessing
    max_pixels: int
    max_bytes: int
    placed: bool = False

    def __call__(self, data: bytes) -> memoryview:
        content, placement = images.to_placed_file(data, self.preprocessing, self.max_pixels, self.max_bytes)
        return with_placement(placement, content) if self.placed else memoryview(content)
