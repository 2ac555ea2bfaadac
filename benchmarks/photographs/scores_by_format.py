"""The same photographs in every format, scored by the real model.

    python -m benchmarks.photographs.scores_by_format

*encoded*: the service decodes the file that the gateway forwards; *tensor*: the gateway decodes it. Each cell is the
probability of the photograph's best label and, in parentheses, the largest difference of a label's probability from the
reference: the photograph as a lossless file that the service decodes.
"""

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.photographs.formats import BYTES, PIXELS, file, formats, plain
from devstack import model
from devstack.fpga.inference import Session
from shared.scoring import images
from shared.scoring.images import forwardable
from shared.settings import Preprocessing

PHOTOS = ("coffee", "rocket", "grace_hopper", "astronaut")
HOW = Preprocessing()

type Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Scores(NamedTuple):
    """A thousand probabilities in each form; ``unchanged``: the file itself was forwarded."""

    encoded: NDArray[np.float32]
    tensor: NDArray[np.float32]
    unchanged: bool


def session() -> Run:
    """The local stack's model: from ``[N, 224, 224, 3]`` to ``[N, 1000]``."""
    return Session(model.ensure_built(), "probabilities").run


def reference(image: Image.Image, run: Run) -> NDArray[np.float32]:
    """The probabilities of a photograph that the service decodes from a lossless file."""
    probabilities: NDArray[np.float32] = run(model.decode(file(image, "PNG", compress_level=1))[np.newaxis])[0]
    return probabilities


def scores(data: bytes, run: Run) -> Scores:
    """The probabilities of a file: as the service decodes what the gateway forwards, and as the gateway decodes it."""
    forwarded = forwardable(data, PIXELS, BYTES)
    sent = forwarded or images.to_file(data, HOW, PIXELS, BYTES)
    both = np.stack([model.decode(sent), images.to_tensor(data, HOW, PIXELS)])
    encoded, tensor = run(both)
    return Scores(encoded, tensor, forwarded is not None)


def main() -> None:
    """Print the table, of all formats or of some."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photographs.scores_by_format")
    what = f"some of {', '.join(formats())}, or all"
    parser.add_argument("formats", nargs="*", metavar="FORMAT", choices=formats(), help=what)
    chosen, run = parser.parse_args().formats or list(formats()), session()
    wanted = {name: reference(plain(name), run) for name in PHOTOS}
    print(f"{'':18} {'':9}" + "".join(f"{name:>20}" for name in PHOTOS))
    best = "".join(f"{wanted[name].argmax():>12} {wanted[name].max():.3f}  " for name in PHOTOS)
    print(f"{'reference':18} {'':9}{best}")
    for kind in chosen:
        found = [scores(formats()[kind](plain(name)), run) for name in PHOTOS]
        for form in ("encoded", "tensor"):
            cells = "".join(_cell(getattr(one, form), wanted[name]) for one, name in zip(found, PHOTOS, strict=True))
            note = "unchanged" if form == "encoded" and all(one.unchanged for one in found) else ""
            print(f"{kind:18} {form:9}{cells}  {note}")


def _cell(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> str:
    best = int(wanted.argmax())
    mark = " " if found.argmax() == best else "!"
    return f"{found[best]:>11.3f}{mark} ({np.abs(found - wanted).max():.3f})"


if __name__ == "__main__":
    main()
