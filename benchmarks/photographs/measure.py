"""The cost of a photograph of 12 megapixels on its way to a tensor, and what the shortcut does to the labels.

The gateway's own :func:`shared.scoring.images.to_tensor`, for which a JPEG is decoded at a reduced size, and the
obvious way of the peers: decode every pixel, convert, resize, normalise.
"""

import io
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from timeit import timeit
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.harness.images import large_photograph
from benchmarks.harness.machine import CpuLoad, Processors, pinned
from benchmarks.harness.noise import ATTEMPTS, Measured, least_disturbed
from benchmarks.peers.forwarding import pixels_of
from benchmarks.photographs.formats import PIXELS, file
from benchmarks.photographs.memory import Write, measured_apart
from benchmarks.photographs.scores_by_format import session
from devstack.photos import available
from shared.scoring import images
from shared.scoring.images import geometry, shrinking
from shared.settings import Datatype, InputForm, Layout, Preprocessing

HOW = Preprocessing()
# Files of about 3.5 MB.
FILES: Mapping[str, Write] = {
    "baseline": lambda image: file(image, "JPEG", quality=92),
    "progressive": lambda image: file(image, "JPEG", quality=92, progressive=True),
}
ROUNDS = 6
# A photograph that a client made small, to a model of UINT8: so many times in a row, in so many rounds.
SMALL, SMALL_IN_A_ROW, SMALL_ROUNDS = (384, 256), 10, 20
# Short sides of the photographs whose labels are compared: 12 megapixels, and those with the narrowest margins.
SHORT_SIDES = (3000, 2880, 3456, 2000)
_LEAST_SIDE = 300

type Tensor = npt.NDArray[np.float32]


def gateway(data: bytes) -> Tensor:
    """The gateway's way."""
    return images.to_tensor(data, HOW, PIXELS)


def measure(quick: bool) -> dict[str, Any]:
    """Measure times, memory and labels.

    Raises:
        PhotoError: no sample photographs are installed. BenchmarkFailed: the memory cannot be measured.
    """
    picture = large_photograph()
    found: dict[str, dict[str, Any]] = {}
    with pinned(Processors.split().measured):
        for name, write in FILES.items():
            data = write(picture)
            extra = round(measured_apart(write, InputForm.TENSOR)["megabytes"], 1)
            found[name] = {"bytes": len(data), "extra_mb": extra, **_times(data, quick=quick)}
        small = _small(file(picture.resize(SMALL), "JPEG", quality=90), quick=quick)
    return {
        "ratios": {
            "photo_12mp_vs_naive": found["baseline"]["ratio"],
            "photo_12mp_progressive_vs_naive": found["progressive"]["ratio"],
            "photo_12mp_extra_mb": found["baseline"]["extra_mb"],
            "photo_small_vs_limit": small["ratio"],
        },
        "small": small,
        "files": found,
        "labels": _labels(2 if quick else None, SHORT_SIDES[:1] if quick else SHORT_SIDES),
    }


def _times(data: bytes, *, quick: bool) -> dict[str, Any]:
    """Both ways by turns, in milliseconds; which one is first changes from round to round."""
    load, ways = CpuLoad(), [("naive", pixels_of), ("gateway", gateway)]

    def take() -> Measured[dict[str, float]]:
        load.others()
        took = {name: 1000 * timeit(partial(way, data), number=1) for name, way in ways}
        ways.reverse()
        return Measured(took, load.others())

    take()  # warms up
    kept, rejected = least_disturbed(take, 1 if quick else ROUNDS, 1 if quick else ATTEMPTS)
    medians = {name: median(one.value[name] for one in kept) for name, _ in ways}
    return {
        "naive_ms": round(medians["naive"], 2),
        "gateway_ms": round(medians["gateway"], 2),
        "ratio": round(medians["naive"] / medians["gateway"], 2),
        "samples": len(kept),
        "rejected": rejected,
        "others": round(max(one.others for one in kept), 3),
    }


def _small(data: bytes, *, quick: bool) -> dict[str, float]:
    """The gateway's way to UINT8 beside the least that Pillow can do, by turns; medians in milliseconds."""
    ways = {"gateway": partial(_pixels, data), "limit": partial(_limit, data)}
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(1 if quick else SMALL_ROUNDS):
        for name, way in ways.items():
            took[name].append(1000 * timeit(way, number=SMALL_IN_A_ROW) / SMALL_IN_A_ROW)
    gateway_ms, limit_ms = (median(took[name]) for name in ways)
    return {"bytes": len(data), "gateway_ms": gateway_ms, "limit_ms": limit_ms, "ratio": gateway_ms / limit_ms}


def _pixels(data: bytes) -> npt.NDArray[np.generic]:
    return images.to_pixels(data, HOW, PIXELS, datatype=Datatype.UINT8, layout=Layout.NHWC)[0]


def _limit(data: bytes) -> npt.NDArray[np.generic]:
    """Decoded, and its middle resized, both once: no check, orientation or profile."""
    with Image.open(io.BytesIO(data)) as image:
        across, down = ((side - HOW.size * min(image.size) / HOW.resize) / 2 for side in image.size)
        box = (across, down, image.width - across, image.height - down)
        return np.asarray(image.resize((HOW.size, HOW.size), Image.Resampling.BICUBIC, box))


# Ways to decode a JPEG at a reduced size: the least size over the wanted one, and the blur from which it is corrected.
WAYS: Mapping[str, tuple[float, float]] = {
    "as the gateway does": (geometry.DRAFT_MARGIN, shrinking._NARROW),  # noqa: SLF001 - the subject
    "the same, not corrected": (geometry.DRAFT_MARGIN, 1.0),
    "to no less than the size": (1.0, 1.0),
    "to no less than twice the size": (2.0, 1.0),
}


def _labels(count: int | None, short_sides: Sequence[int]) -> list[dict[str, Any]]:
    """For each way: the differences of the model's probabilities from those of the completely decoded picture."""
    model, wanted = session(), []
    found: dict[str, list[Tensor]] = {way: [] for way in WAYS}
    paths = [path for path in available().values() if _is_suitable(path)][:count]
    for path, short in product(paths, short_sides):
        data = enlarged(path, short)
        wanted.append(model(reference(data)[np.newaxis])[0])
        for way, (margin, narrow) in WAYS.items():
            with patch.object(geometry, "DRAFT_MARGIN", margin), patch.object(shrinking, "_NARROW", narrow):
                found[way].append(model(gateway(data)[np.newaxis])[0])
    return [{"way": way, "pictures": len(wanted), **_summary(np.array(wanted), np.array(found[way]))} for way in WAYS]


def _summary(wanted: Tensor, found: Tensor) -> dict[str, Any]:
    """The differences between two matrices of probabilities, with a row for each picture."""
    most = np.abs(wanted - found).max(axis=1).astype(float)
    ranks = [values.argsort(axis=1)[:, :-6:-1] for values in (wanted, found)]
    first_same = ranks[0][:, 0] == ranks[1][:, 0]
    shared = [len({*five} & {*other}) for five, other in zip(*(rank.tolist() for rank in ranks), strict=True)]
    best, second = np.sort(wanted, axis=1)[:, :-3:-1].T.astype(float)
    return {
        "first_same": int(first_same.sum()),
        # By how much the first label was ahead, where another one is first now.
        "widest_lead_lost": round(float(np.where(first_same, 0.0, best - second).max()), 4),
        "five_shared": round(sum(shared) / len(shared) / 5, 4),
        "mean_difference": round(float(most.mean()), 4),
        "most_difference": round(float(most.max()), 4),
    }


def reference(data: bytes) -> Tensor:
    """The picture decoded completely and resized once, at full precision."""
    with Image.open(io.BytesIO(data)) as image:
        rgb = image.convert("RGB")
    small = rgb.resize(geometry.target(rgb.size, HOW.resize, enlarge=True), Image.Resampling.BICUBIC)
    return images.normalise(small.crop(geometry.centre(small.size, HOW.size)), HOW)


def _is_suitable(path: Path) -> bool:
    """Whether a sample photograph is in colour and has about as many pixels as the model's input."""
    with Image.open(path) as image:
        return image.mode in {"RGB", "RGBA"} and min(image.size) >= _LEAST_SIDE


def enlarged(path: Path, short: int) -> bytes:
    """A photograph as a JPEG whose shorter side has so many pixels."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    size = geometry.target(rgb.size, short, enlarge=True)
    return file(rgb.resize(size, Image.Resampling.BICUBIC), "JPEG", quality=90)
