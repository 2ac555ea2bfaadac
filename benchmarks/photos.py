"""What a photograph of 12 megapixels costs on its way to a tensor: ``python -m benchmarks.photos``.

The gateway's own :func:`shared.scoring.images.to_tensor`, which has a JPEG decoded small, beside what one writes first:
decode all of it, convert, resize, normalise. And what the difference does to the labels of photographs.
"""

import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks import photo_cost
from benchmarks.formats_table import Run, session
from benchmarks.machine import Load, Processors, pin
from benchmarks.rig import Invalid, part
from devstack.photos import available
from shared.scoring import images
from shared.scoring.images import geometry, shrinking
from shared.settings import Preprocessing

HOW, ENOUGH = Preprocessing(), 50_000_000
# Gives a file of about 3.5 MB.
_QUALITY = 92
ROUNDS, WARM_UP = 25, 1
# A round during which other processes used more of the machine than this is rejected, as long as there are others.
CALM, TRIES = 0.05, 3
# Short sides of the photographs whose labels are compared: 12 megapixels, and what is decoded at the narrowest margins.
SHORT_SIDES = (3000, 2880, 3456, 2000)
_LEAST_SIDE = 300

type Tensor = npt.NDArray[np.float32]


def naive(data: bytes) -> Tensor:
    """What one writes first, to the same end: every pixel is decoded, converted and resized, and then normalised."""
    with Image.open(io.BytesIO(data)) as image:
        rgb = image.convert("RGB")
    scale = HOW.resize / min(rgb.size)
    small = rgb.resize((round(rgb.width * scale), round(rgb.height * scale)))
    left, top = (small.width - HOW.size) // 2, (small.height - HOW.size) // 2
    pixels = np.asarray(small.crop((left, top, left + HOW.size, top + HOW.size)), np.float32)
    mean, scales = np.array(HOW.mean, np.float32), np.array(HOW.scale, np.float32)
    tensor: Tensor = np.divide(np.subtract(pixels, mean), scales)
    return tensor


def ours(data: bytes) -> Tensor:
    """What the gateway does."""
    return images.to_tensor(data, HOW, ENOUGH)


def measure(quick: bool) -> dict[str, Any]:
    """Take the samples.

    Raises:
        PhotoError: no sample photographs are installed. Invalid: the memory cannot be measured.
    """
    processors = Processors.split()
    files = {name: _large(progressive=name == "progressive") for name in ("baseline", "progressive")}
    pin(processors.measured)
    try:
        timed = {name: _timed(data, 1 if quick else ROUNDS, 1 if quick else TRIES) for name, data in files.items()}
        megabytes = {name: _extra(data) for name, data in files.items()}
    finally:
        pin(processors.measured | processors.others)
    return {
        "ratios": {
            "photo_12mp_vs_naive": timed["baseline"]["ratio"],
            "photo_12mp_progressive_vs_naive": timed["progressive"]["ratio"],
            "photo_12mp_extra_mb": megabytes["baseline"],
        },
        "files": {
            name: {"bytes": len(data), "extra_mb": megabytes[name], **timed[name]} for name, data in files.items()
        },
        "labels": _labels(2 if quick else None, SHORT_SIDES[:1] if quick else SHORT_SIDES),
    }


def _large(*, progressive: bool) -> bytes:
    """A photograph of 12 megapixels with a camera's grain."""
    with patch.dict(photo_cost.CASES, {"large": lambda picture, out: picture.save(
        out, "JPEG", quality=_QUALITY, progressive=progressive)}):  # fmt: skip
        return photo_cost.make("large")


def _timed(data: bytes, count: int, tries: int) -> dict[str, Any]:
    """Both ways in turn, in milliseconds; which is first changes from round to round."""
    load, legs = Load(()), [("naive", naive), ("ours", ours)]
    rounds: list[tuple[float, dict[str, float]]] = []
    for _ in range(WARM_UP):
        _round(legs, data)
    while len(rounds) < tries * count and sum(others <= CALM for others, _ in rounds) < count:
        load.others()
        took = _round(legs, data)
        rounds.append((load.others(), took))
        legs.reverse()
    kept = sorted(rounds, key=lambda one: one[0])[:count]
    medians = {name: median(took[name] for _, took in kept) for name, _ in legs}
    return {
        "naive_ms": round(medians["naive"], 2),
        "ours_ms": round(medians["ours"], 2),
        "ratio": round(medians["naive"] / medians["ours"], 2),
        "samples": len(kept),
        "rejected": len(rounds) - len(kept),
        "others": round(max(others for others, _ in kept), 3),
    }


def _round(legs: Sequence[tuple[str, Callable[[bytes], Tensor]]], data: bytes) -> dict[str, float]:
    took = {}
    for name, work in legs:
        began = time.perf_counter()
        work(data)
        took[name] = 1000 * (time.perf_counter() - began)
    return took


def _extra(data: bytes) -> float:
    """Peak of the resident memory over what was held before, in MB, in a process of its own."""
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(data)
        file.flush()
        done = subprocess.run(  # noqa: S603 - this project's own program
            [sys.executable, "-m", "benchmarks.photo_cost", "--measure", file.name, "tensor"],
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
            cwd=Path(__file__).parent.parent,
        )
    if done.returncode:
        raise Invalid(f"The memory cannot be measured: {(done.stderr.strip().splitlines() or ['no reason told'])[-1]}")
    return round(float(json.loads(done.stdout)["megabytes"]), 1)


def _labels(count: int | None, short_sides: Sequence[int]) -> list[dict[str, Any]]:
    """For each way to shrink: how the model's probabilities differ from those of the whole picture, resized once."""
    run = session()
    rows: dict[str, list[_Difference]] = {name: [] for name in WAYS}
    names = [name for name, path in available().items() if _is_fit(path)][:count]
    for name in names:
        for short in short_sides:
            data = _enlarged(available()[name], short)
            wanted = _probabilities(run, reference(data))
            for way in WAYS:
                with chosen(way):
                    rows[way].append(_Difference(wanted, _probabilities(run, ours(data))))
    return [{"way": way, "photographs": len(names), "pictures": len(rows[way]), **_told(rows[way])} for way in WAYS]


# How a JPEG is decoded small: the least size, over the wanted one, and from which blur on it is corrected.
WAYS: Mapping[str, tuple[float, float]] = {
    "the gateway's own choice": (geometry.DRAFT_MARGIN, shrinking._NARROW),  # noqa: SLF001 - what is looked at here
    "the same, not corrected": (geometry.DRAFT_MARGIN, 1.0),
    "to no less than the size": (1.0, 1.0),
    "to no less than twice the size": (2.0, 1.0),
}


@contextmanager
def chosen(way: str) -> Iterator[None]:
    """Have the gateway's code shrink in another way."""
    margin, narrow = WAYS[way]
    with patch.object(geometry, "DRAFT_MARGIN", margin), patch.object(shrinking, "_NARROW", narrow):
        yield


class _Difference:
    """What became of one picture's probabilities."""

    def __init__(self, wanted: Tensor, found: Tensor) -> None:
        self.most = float(np.abs(wanted - found).max())
        self.first_is_same = bool(wanted.argmax() == found.argmax())
        self.five_shared = len(set(wanted.argsort()[-5:].tolist()) & set(found.argsort()[-5:].tolist()))
        best, second = np.sort(wanted)[:-3:-1].tolist()
        # By how much the second label was behind, where it is first now.
        self.lead = 0.0 if self.first_is_same else best - second


def _told(rows: Sequence[_Difference]) -> dict[str, Any]:
    return {
        "first_same": sum(row.first_is_same for row in rows),
        "widest_lead_lost": round(max(row.lead for row in rows), 4),
        "five_shared": round(sum(row.five_shared for row in rows) / len(rows) / 5, 4),
        "mean_difference": round(sum(row.most for row in rows) / len(rows), 4),
        "most_difference": round(max(row.most for row in rows), 4),
    }


def reference(data: bytes) -> Tensor:
    """The picture decoded as a whole and resized once: full precision, without a thought of its cost."""
    with Image.open(io.BytesIO(data)) as image:
        rgb = image.convert("RGB")
    small = rgb.resize(geometry.target(rgb.size, HOW.resize, enlarge=True), Image.Resampling.BICUBIC)
    return images.normalise(small.crop(geometry.centre(small.size, HOW.size)), HOW)


def _probabilities(run: Run, tensor: Tensor) -> Tensor:
    probabilities: Tensor = run(tensor[np.newaxis])[0]
    return probabilities


def _is_fit(path: Path) -> bool:
    """Whether a sample photograph is in colour and has about as many pixels as the model looks at."""
    with Image.open(path) as image:
        return image.mode in {"RGB", "RGBA"} and min(image.size) >= _LEAST_SIDE


def _enlarged(path: Path, short: int) -> bytes:
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    size = geometry.target(rgb.size, short, enlarge=True)
    out = io.BytesIO()
    rgb.resize(size, Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
    return out.getvalue()


def report(data: Mapping[str, Any]) -> str:
    """A section of Markdown."""
    lines = [
        "## A photograph of 12 megapixels",
        "",
        (
            "A JPEG of 4000 x 3000 pixels with a camera's grain, to the model's 224 x 224 x 3 floats, in one"
            " thread on one"
            " processor. *Naive* decodes every pixel, converts, resizes and normalises (`Image.open`, `convert`,"
            " `resize`,"
            " numpy). The gateway has the decoder shrink the picture while it decodes. Both in turn, medians in"
            " milliseconds; memory is the peak over what was held before, in a process of its own."
        ),
        "",
        "| file | MB | naive, ms | gateway, ms | times faster | extra memory, MB | samples | others used |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
        *(
            f"| {name} | {row['bytes'] / 1e6:.2f} | {row['naive_ms']:.1f} | {row['ours_ms']:.1f} |"
            f" **{row['ratio']:.2f}** | {row['extra_mb']:.1f} | {row['samples']} ({row['rejected']} rejected) |"
            f" {row['others']:.0%} |"
            for name, row in data["files"].items()
        ),
        "",
        (
            "What that does to labels: sample photographs, enlarged to several large sizes and scored by the"
            " local stack's"
            " real model, beside the same files decoded as a whole and resized once. The difference is that of the"
            " probability, of a thousand, that differs most."
        ),
        "",
        (
            "| decoded at a half, a quarter or an eighth | pictures | same first label | its lead before, at most"
            " | of five labels the same | difference, mean | most |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|",
        *(
            f"| {row['way']} | {row['pictures']} | {row['first_same']} | {row['widest_lead_lost']:.3f} |"
            f" {row['five_shared']:.0%} | {row['mean_difference']:.4f} | {row['most_difference']:.3f} |"
            for row in data["labels"]
        ),
        "",
        (
            "The *lead* is by how much the first label was ahead, where another one is first now: labels change"
            " places only"
            " where they were as good as equal. The gateway decodes to no less than"
            f" {geometry.DRAFT_MARGIN:g} times the size, and then undoes what the coarse squares have blurred"
            " (`shared/scoring/images/geometry.py` says how)."
        ),
    ]
    return "\n".join(lines) + "\n"


def plot(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the times beside each other."""
    from benchmarks.cold_plot import BLUE, GREY, figure, plain  # noqa: PLC0415 - matplotlib, which only this needs

    file, names = folder / "photos.svg", list(data["files"])
    with figure(file, 6.0, 1.9) as made:
        axes = made.subplots()
        for offset, key, colour in ((-0.2, "naive_ms", GREY), (0.2, "ours_ms", BLUE)):
            took = [data["files"][name][key] for name in names]
            bars = axes.barh(
                np.arange(len(names)) + offset, took, height=0.36, color=colour, label=key.removesuffix("_ms")
            )
            axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel("milliseconds")
        axes.set_title("12 megapixels to a tensor", loc="left", fontweight="bold")
        axes.legend(frameon=False)
        plain(axes)
    return [file]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    return part("benchmarks.photos", measure, report, arguments)


if __name__ == "__main__":
    sys.exit(main())
