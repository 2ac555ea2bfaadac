"""The same photographs in every format, scored by the real model in both forms.

    python -m benchmarks.formats_table

Each cell is the probability of the photograph's best label, and how far the farthest of the thousand labels is from its
probability for the reference, which is the photograph as a lossless file prepared by the service itself.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.photographs import ENOUGH, ROOM, file, formats, plain
from devstack import model
from devstack.fpga.inference import Session
from shared.scoring import images
from shared.scoring.images import forwardable
from shared.settings import Preprocessing

PHOTOS = ("coffee", "rocket", "grace_hopper", "astronaut")
HOW = Preprocessing()

type Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Scores(NamedTuple):
    """A thousand probabilities in each form; ``as_it_came``: the encoded form forwarded the file itself."""

    encoded: NDArray[np.float32]
    tensor: NDArray[np.float32]
    as_it_came: bool


def session() -> Run:
    """The local stack's model: from ``[N, 224, 224, 3]`` to ``[N, 1000]``."""
    return Session(model.ensure_built(), "probabilities").run


def reference(image: Image.Image, run: Run) -> NDArray[np.float32]:
    """The probabilities of a photograph that the service decodes from a lossless file."""
    probabilities: NDArray[np.float32] = run(model.decode(file(image, "PNG", compress_level=1))[np.newaxis])[0]
    return probabilities


def scores(data: bytes, run: Run) -> Scores:
    """The probabilities of a file: as the service decodes what the gateway sends it, and as the gateway decodes it."""
    as_it_came = forwardable(data, ENOUGH, ROOM)
    sent = data if as_it_came else images.to_file(data, HOW, ENOUGH, ROOM)
    both = np.stack([model.decode(sent), images.to_tensor(data, HOW, ENOUGH)])
    encoded, tensor = run(both)
    return Scores(encoded, tensor, as_it_came)


def main() -> None:
    """Print the table."""
    run = session()
    wanted = {name: reference(plain(name), run) for name in PHOTOS}
    print(f"{'':18} {'':9}" + "".join(f"{name:>20}" for name in PHOTOS))
    best = "".join(f"{wanted[name].argmax():>12} {wanted[name].max():.3f}  " for name in PHOTOS)
    print(f"{'reference':18} {'':9}{best}")
    for kind, write in formats().items():
        found = [scores(write(plain(name)), run) for name in PHOTOS]
        for form in ("encoded", "tensor"):
            cells = "".join(_cell(getattr(one, form), wanted[name]) for one, name in zip(found, PHOTOS, strict=True))
            note = "as it came" if form == "encoded" and all(one.as_it_came for one in found) else ""
            print(f"{kind:18} {form:9}{cells}  {note}")


def _cell(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> str:
    best = int(wanted.argmax())
    mark = " " if found.argmax() == best else "!"
    return f"{found[best]:>11.3f}{mark} ({np.abs(found - wanted).max():.3f})"


if __name__ == "__main__":
    main()
