"""What is done with an image, as values that a decoder process can be sent."""

from collections.abc import Callable
from dataclasses import dataclass

from shared.scoring import images
from shared.settings import Datatype, Layout, Preprocessing

type Content = bytes | memoryview
type Work = Callable[[bytes], Content]


@dataclass(frozen=True)
class ToTensor:
    """Make the bytes of a picture's tensor; see :func:`shared.scoring.images.outputs.to_pixels`."""

    preprocessing: Preprocessing
    max_pixels: int
    datatype: Datatype = Datatype.FP32
    layout: Layout = Layout.NHWC

    def __call__(self, data: bytes) -> memoryview:
        how, limit = self.preprocessing, self.max_pixels
        return images.to_pixels(data, how, limit, datatype=self.datatype, layout=self.layout).data.cast("B")


@dataclass(frozen=True)
class ToFile:
    """Make a plain image file; see :func:`shared.scoring.images.outputs.to_file`."""

    preprocessing: Preprocessing
    max_pixels: int
    max_bytes: int

    def __call__(self, data: bytes) -> memoryview:
        return memoryview(images.to_file(data, self.preprocessing, self.max_pixels, self.max_bytes))


@dataclass(frozen=True)
class ToSquare:
    """Make an image file of the whole picture, stretched to a square."""

    side: int
    max_pixels: int

    def __call__(self, data: bytes) -> memoryview:
        return memoryview(images.to_square(data, self.side, self.max_pixels))
