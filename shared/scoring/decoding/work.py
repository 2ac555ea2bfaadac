"""What is done with an image, as values that a decoder process can be sent."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shared.scoring import images
from shared.settings import Preprocessing

type Content = bytes | memoryview
type Work = Callable[[bytes], Content]


@dataclass(frozen=True)
class ToTensor:
    """Make ``[size, size, 3]`` float32 in little-endian bytes; see :func:`shared.scoring.images.outputs.to_tensor`."""

    preprocessing: Preprocessing
    max_pixels: int

    def __call__(self, data: bytes) -> memoryview:
        tensor = images.to_tensor(data, self.preprocessing, self.max_pixels)
        return np.ascontiguousarray(tensor, dtype="<f4").data.cast("B")


@dataclass(frozen=True)
class ToFile:
    """Make a plain image file; see :func:`shared.scoring.images.outputs.to_file`."""

    preprocessing: Preprocessing
    max_pixels: int
    max_bytes: int

    def __call__(self, data: bytes) -> memoryview:
        return memoryview(images.to_file(data, self.preprocessing, self.max_pixels, self.max_bytes))
