"""What every system is given to do, and how its answers are checked."""

import io
import json
import zlib
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from benchmarks.harness.images import jpeg, large_photograph
from benchmarks.peers.forwarding import files_request, pixels_request
from protos.serving_pb2 import PredictResponse

# The simulated engine's classes, and the number of requested labels.
CLASSES, TOP = 1000, 5
SHAPE = (1, 224, 224, 3)

# A JPEG's restart interval of 0, which is also that of a file without this segment.
_NO_RESTARTS = b"\xff\xdd\x00\x04\x00\x00"


class Workload(StrEnum):
    """The kinds of requests; the values are their names in the results."""

    JPEG = "jpeg_20k"
    TENSOR = "tensor_600k"
    FILES = "files_8"
    PHOTO = "photo_12mp"


TITLES = {
    Workload.JPEG: "a 20 KB JPEG, forwarded as it is",
    Workload.TENSOR: "a 600 KB tensor (224 x 224 x 3 floats)",
    Workload.FILES: "8 JPEGs of 20 KB in one request",
    Workload.PHOTO: "a 12-megapixel photograph, converted to a tensor",
}


class Payloads(NamedTuple):
    """The files and numbers that are sent; the same on every machine with the same libraries."""

    jpeg: bytes
    photo: bytes
    pixels: bytes
    files: Sequence[bytes]

    @classmethod
    def make(cls) -> "Payloads":
        """Make them.

        Raises:
            PhotoError: no sample photographs are installed.
        """
        small, photo = jpeg(20_000), io.BytesIO()
        large_photograph().save(photo, "JPEG", quality=90)
        pixels = np.random.default_rng(1).random(SHAPE, np.float32).astype("<f4").tobytes()
        # Segments without effect make a JPEG another file to the engine, which only uses its checksum.
        files = [small[:2] + number * _NO_RESTARTS + small[2:] for number in range(8)]
        return cls(small, photo.getvalue(), pixels, files)

    def expected(self, workload: Workload) -> list[int] | None:
        """The first label's index of each image, by the engine's rule; None where the server makes the pixels."""
        sent = {Workload.JPEG: [self.jpeg], Workload.TENSOR: [self.pixels], Workload.FILES: self.files}.get(workload)
        return None if sent is None else [zlib.crc32(each) % CLASSES for each in sent]

    def message(self, workload: Workload) -> bytes:
        """A serialized PredictRequest; several files are one batch."""
        if workload is Workload.TENSOR:
            return pixels_request(np.frombuffer(self.pixels, "<f4").reshape(SHAPE)).SerializeToString()
        return files_request(self.files if workload is Workload.FILES else [self.jpeg]).SerializeToString()


def labels_of(body: bytes) -> list[int]:
    """The first label's index of each image, from an answer in the form of the gateway's.

    Raises:
        ValueError: it has another form, or not five labels; so do the other functions.
    """
    predictions = json.loads(body)["predictions"]
    if any(len(each["labels"]) != TOP for each in predictions):
        raise ValueError(f"not {TOP} labels")
    return [int(each["labels"][0]["id"]) for each in predictions]


def scores_of(body: bytes) -> list[int]:
    """Likewise, from the transcoder's JSON, which holds all scores of all images in a row."""
    return _best(json.loads(body)["outputs"]["output_alias"]["floatVal"])


def message_of(body: bytes) -> list[int]:
    """Likewise, from a serialized PredictResponse."""
    return _best(PredictResponse.FromString(body).outputs["output_alias"].float_val)


def _best(scores: Sequence[float]) -> list[int]:
    return [int(index) for index in np.array(scores, np.float64).reshape(-1, CLASSES).argmax(axis=1)]
