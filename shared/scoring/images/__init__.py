"""Image processing: from an uploaded file's bytes to a service's input, an ordinary image file or a float tensor.

``forwardable`` decodes no pixels, takes some tens of microseconds, and runs on the event loop. ``to_file`` and
``to_pixels`` decode: call them in a thread. Pillow releases the global interpreter lock while it decodes, resizes and
encodes.
"""

from typing import TYPE_CHECKING, Any

from shared.scoring.images.formats import Format, format_of
from shared.scoring.images.forwarding import forwardable, size_of

if TYPE_CHECKING:
    from shared.scoring.images.outputs import normalise, to_file, to_pixels, to_placed_file, to_tensor

_WITH_PILLOW = ("normalise", "to_file", "to_pixels", "to_placed_file", "to_tensor")

__all__ = [
    "Format",
    "format_of",
    "forwardable",
    "normalise",
    "size_of",
    "to_file",
    "to_pixels",
    "to_placed_file",
    "to_tensor",
]


def __getattr__(name: str) -> Any:
    """Import Pillow with the first image that is decoded (PEP 562); some services never need it."""
    if name not in _WITH_PILLOW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from shared.scoring.images import outputs  # noqa: PLC0415 - see above

    return getattr(outputs, name)
