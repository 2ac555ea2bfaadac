"""What the contestants are given to do, and how it is seen that they did it."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from benchmarks import photo_cost
from benchmarks.rig import jpeg
from protos.serving_pb2 import PredictResponse
from shared.scoring.tensors import RequestTemplate

# What the simulated engine answers with.
CLASSES, TOP = 1000, 5


class Work(StrEnum):
    """The kinds of work; the values are their names in the results."""

    JPEG = "jpeg_20k"
    TENSOR = "tensor_600k"
    FILES = "files_8"
    PHOTO = "photo_12mp"


TITLES = {
    Work.JPEG: "a 20 KB JPEG, passed through",
    Work.TENSOR: "a 600 KB tensor (224 x 224 x 3 floats)",
    Work.FILES: "8 JPEGs of 20 KB in one request",
    Work.PHOTO: "a 12-megapixel photograph, made a tensor",
}


@dataclass(frozen=True)
class Materials:
    """The files and numbers that are sent."""

    jpeg: bytes
    photo: bytes
    pixels: bytes
    files: Sequence[bytes]

    @classmethod
    def make(cls) -> "Materials":
        """Make them; the same on every machine with the same libraries.

        Raises:
            PhotoError: no sample photographs are installed.
        """
        small = jpeg(20_000)
        pixels = np.random.default_rng(1).random((1, 224, 224, 3), np.float32)
        # What follows a JPEG's end makes it another file to the engine, which only looks at its checksum.
        files = [small + bytes([number]) for number in range(8)]
        return cls(small, photo_cost.make("jpeg"), pixels.astype("<f4").tobytes(), files)

    def best(self, work: Work) -> list[int] | None:
        """The first label's index of each image, by the simulated engine's rule; None where pixels are made anew."""
        sent = {Work.JPEG: [self.jpeg], Work.TENSOR: [self.pixels], Work.FILES: self.files}.get(work)
        return None if sent is None else [zlib.crc32(each) % CLASSES for each in sent]

    def message(self, work: Work) -> bytes:
        """The work as a serialized PredictRequest; several files are one batch."""
        template = RequestTemplate(model="imagenet", signature="", input_name="images")
        if work is Work.TENSOR:
            return template.floats((1, 224, 224, 3), self.pixels)
        return template.encoded(self.files if work is Work.FILES else [self.jpeg])


def labels_of(body: bytes) -> list[int]:
    """The first label's index of each image, of an answer like the gateway's.

    Raises:
        ValueError: it is of another form, or has not five labels.
    """
    predictions = json.loads(body)["predictions"]
    if any(len(each["labels"]) != TOP for each in predictions):
        raise ValueError(f"not {TOP} labels")
    return [int(each["labels"][0]["id"]) for each in predictions]


def scores_of(body: bytes) -> list[int]:
    """Likewise, of the transcoder's JSON, which holds all scores of all images in a row.

    Raises:
        ValueError: it is of another form.
    """
    document: dict[str, Any] = json.loads(body)
    return _best(document["outputs"]["output_alias"]["floatVal"])


def message_of(body: bytes) -> list[int]:
    """Likewise, of a serialized PredictResponse.

    Raises:
        ValueError: it is of another form.
    """
    return _best(PredictResponse.FromString(body).outputs["output_alias"].float_val)


def _best(scores: Sequence[float]) -> list[int]:
    rows = np.array(scores, np.float64).reshape(-1, CLASSES)
    return [int(index) for index in rows.argmax(axis=1)]
