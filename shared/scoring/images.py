"""From an image file's bytes to the float tensor that a model was trained on.

Blocking, and heavy for large photographs: call it in a thread. Pillow frees the interpreter lock while it decodes and
resizes.
"""

import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from shared.errors import DamagedImage, ImageTooLarge, UnsupportedImage
from shared.settings import ChannelOrder, Preprocessing

# The formats that are read, by the bytes that begin them. Another format gets its line here, and its name in Pillow.
_SIGNATURES: Mapping[bytes, str] = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
}

# The gateway's own limit (MAX_IMAGE_PIXELS) is checked before anything is decoded; Pillow's would only warn.
Image.MAX_IMAGE_PIXELS = None


def format_of(data: bytes) -> str:
    """The format of an image file, ``"JPEG"`` or ``"PNG"``, by its content: names and headers may lie.

    Raises:
        UnsupportedImage: the bytes begin no format that is read here.
    """
    for signature, name in _SIGNATURES.items():
        if data.startswith(signature):
            return name
    raise UnsupportedImage("The bytes do not begin as a JPEG or PNG file does.")


def check(data: bytes, max_pixels: int) -> None:
    """Read an image file's header alone.

    Raises:
        UnsupportedImage: not a format that is read here.
        DamagedImage: the header cannot be read.
        ImageTooLarge: more than ``max_pixels``.
    """
    _open(data, max_pixels).close()


def to_tensor(data: bytes, how: Preprocessing, max_pixels: int) -> npt.NDArray[np.float32]:
    """Decode an image file, turn it upright, crop, resize and normalise it.

    Returns:
        ``[size, size, 3]``, float32, C-contiguous.

    Raises:
        UnsupportedImage: not a format that is read here.
        DamagedImage: the picture cannot be decoded.
        ImageTooLarge: more than ``max_pixels``.
    """
    with _open(data, max_pixels) as image:
        try:
            return normalise(_crop(image, how), how)
        except (OSError, SyntaxError, ValueError) as error:
            raise DamagedImage("The picture could not be decoded to its end.") from error


def normalise(image: Image.Image, how: Preprocessing) -> npt.NDArray[np.float32]:
    """``(value - mean) / scale`` of an RGB picture, as ``[height, width, 3]`` float32 in the order of ``how``."""
    pixels = np.asarray(image, dtype=np.float32)
    pixels = pixels - np.array(how.mean, dtype=np.float32)
    pixels /= np.array(how.scale, dtype=np.float32)
    return np.ascontiguousarray(pixels[..., ::-1]) if how.order is ChannelOrder.BGR else pixels


def _open(data: bytes, max_pixels: int) -> Image.Image:
    format_name = format_of(data)
    try:
        image = Image.open(io.BytesIO(data), formats=[format_name])
    except (OSError, SyntaxError, ValueError) as error:
        raise DamagedImage(f"The file begins as {format_name}, but its header cannot be read.") from error
    width, height = image.size
    if width * height > max_pixels:
        image.close()
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels; {max_pixels} are allowed.", limit=max_pixels, unit="pixels"
        )
    return image


def _crop(image: Image.Image, how: Preprocessing) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    rgb = upright if upright.mode == "RGB" else upright.convert("RGB")
    return rgb.resize((how.size, how.size), Image.Resampling.BICUBIC, box=_centre_box(rgb.size, how))


def _centre_box(size: tuple[int, int], how: Preprocessing) -> tuple[float, float, float, float]:
    """The square of the source that becomes the tensor: its sides keep the ratio ``size / resize`` to the short side.

    Resizing only this box gives what resizing the whole picture and then cutting out its centre would.
    """
    width, height = size
    side = min(width, height) * how.size / how.resize
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side
