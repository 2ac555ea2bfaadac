"""A small detector: it finds what is red, green or blue in a picture, and answers with several outputs.

For each of the three colours, a pixel belongs to it where its value exceeds both others by far. ``boxes`` are around
those pixels, ``[N,3,4]`` as left, top, right and bottom in the picture's pixels; ``scores`` the share of a box that
has the colour, ``[N,3]``; ``classes`` their numbers, ``[N,3]``; ``labels`` their names; ``mask`` the colour of each
pixel, ``[N,H,W]``, 0 for none.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 320
COLOURS = (b"red", b"green", b"blue")
# By how much a colour's value exceeds both others.
_FAR = 80

# The datatype and shape of each output.
OUTPUTS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "boxes": ("FP32", (-1, 3, 4)),
    "scores": ("FP32", (-1, 3)),
    "classes": ("INT64", (-1, 3)),
    "labels": ("BYTES", (-1, 3)),
    "mask": ("UINT8", (-1, SIDE, SIDE)),
}


def detect(pictures: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """The outputs for pictures ``[N, H, W, 3]``, in RGB."""
    wide = pictures.astype(np.int16)
    others = np.stack([np.delete(wide, colour, axis=3).max(axis=3) for colour in range(len(COLOURS))], axis=3)
    belongs = wide - others > _FAR
    found = [[_box(one[..., colour]) for colour in range(len(COLOURS))] for one in belongs]
    count = len(pictures)
    return {
        "boxes": np.array([[box for box, _ in one] for one in found], "<f4"),
        "scores": np.array([[score for _, score in one] for one in found], "<f4"),
        "classes": np.tile(np.arange(len(COLOURS), dtype="<i8"), (count, 1)),
        "labels": np.tile(np.array(COLOURS, object), (count, 1)),
        "mask": (belongs * np.array([1, 2, 3], np.uint8)).max(axis=3),
    }


def _box(mask: NDArray[np.bool_]) -> tuple[tuple[float, ...], float]:
    """The box around the pixels of a mask, and the share of it that they cover; zeros where there are none."""
    down, across = np.nonzero(mask)
    if not len(down):
        return (0.0,) * 4, 0.0
    left, top, right, bottom = across.min(), down.min(), across.max() + 1, down.max() + 1
    return (float(left), float(top), float(right), float(bottom)), len(down) / ((right - left) * (bottom - top))
