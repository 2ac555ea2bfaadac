"""Photographs: tables, and a plot of the times."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness.markdown import number, table
from benchmarks.harness.plots import BLUE, GREY, figure, simplify
from shared.scoring.images import geometry

_TEXT = """\
## A photograph of 12 megapixels

A JPEG of 4000 x 3000 pixels with a camera's noise, to the model's 224 x 224 x 3 floats, in one thread on one processor.
*Naive* decodes every pixel, converts, resizes and normalises (`Image.open`, `convert`, `resize`, numpy). The gateway
has the decoder reduce the picture while it decodes. Both by turns, medians in milliseconds; memory is the peak over the
memory before, in a process of its own.

{files_table}

![Milliseconds](performance/photographs.svg)

A JPEG of 384 x 256 pixels to 224 x 224 x 3 bytes takes {small[gateway_ms]:.2f} ms, {small[ratio]:.2f} times the limit:
Pillow's decoder and one resize, {small[limit_ms]:.2f} ms, without checks, orientation or profile.

The effect on labels: sample photographs, enlarged to several large sizes and scored by the local stack's real model,
compared with the same files decoded completely and resized once. The difference is that of the probability, of a
thousand, that differs most.

{labels_table}

The *lead* is by how much the first label was ahead, where another one is first now: labels change places only where
their probabilities were almost equal. The gateway decodes to no less than {margin:g} times the size, and then corrects
the blur of the coarse squares (see `shared/scoring/images/geometry.py`).
"""


def report(data: Mapping[str, Any]) -> str:
    """The section."""
    files = [
        [
            *(name, f"{row['bytes'] / 1e6:.2f}", number(row["naive_ms"], 1), number(row["gateway_ms"], 1)),
            *(f"**{row['ratio']:.2f}**", number(row["extra_mb"], 1)),
            *(f"{row['samples']} ({row['rejected']} rejected)", f"{row['others']:.0%}"),
        ]
        for name, row in data["files"].items()
    ]
    labels = [
        [
            *(row["way"], str(row["pictures"]), str(row["first_same"]), number(row["widest_lead_lost"], 3)),
            *(f"{row['five_shared']:.0%}", number(row["mean_difference"], 4), number(row["most_difference"], 3)),
        ]
        for row in data["labels"]
    ]
    head = ["file", "MB", "naive, ms", "gateway, ms", "times faster", "extra memory, MB", "samples", "others used"]
    labels_head = [
        *("decoded at a half, a quarter or an eighth", "pictures", "same first label", "its lead before, at most"),
        *("of five labels the same", "difference, mean", "most"),
    ]
    return _TEXT.format(
        files_table=table(head, files),
        labels_table=table(labels_head, labels),
        small=data["small"],
        margin=geometry.DRAFT_MARGIN,
    )


def plot(data: Mapping[str, Any], folder: Path) -> None:
    """Draw the times."""
    file, names = folder / "photographs.svg", list(data["files"])
    with figure(file, 6.0, 1.9) as drawn:
        axes = drawn.subplots()
        for offset, way, colour in ((-0.2, "naive", GREY), (0.2, "gateway", BLUE)):
            at = [row + offset for row in range(len(names))]
            took = [data["files"][name][f"{way}_ms"] for name in names]
            bars = axes.barh(at, took, height=0.36, color=colour, label=way)
            axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel("milliseconds")
        axes.set_title("12 megapixels to a tensor", loc="left", fontweight="bold")
        axes.legend(frameon=False)
        simplify(axes)
