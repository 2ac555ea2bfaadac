"""Creates ICC profiles (ICC.1:2010) from primaries, a white point and a curve; Pillow can only create sRGB."""

import io
import struct

import numpy as np
from PIL import Image, ImageCms

type Point = tuple[float, float]

D50 = np.array([0.9642, 1.0, 0.8249])
D65: Point = (0.3127, 0.3290)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
PROPHOTO = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001))
SWAPPED = (SRGB[2], SRGB[1], SRGB[0])

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def rgb_profile(primaries: tuple[Point, Point, Point], gamma: float | None = None, white: Point = D65) -> bytes:
    """An RGB profile; without ``gamma``, its curve is that of sRGB."""
    columns = _adapted(np.stack([_xyz(point) for point in primaries], axis=1), _xyz(white))
    tags = {name: _xyz_tag(columns[:, at]) for at, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma))
    return _profile(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    return _profile(b"GRAY", {b"kTRC": _curve(gamma)})


def encoded_in(profile: bytes, picture: Image.Image) -> Image.Image:
    """The image with the same colours, converted to another profile."""
    source = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    converted = ImageCms.profileToProfile(picture, source, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    assert converted is not None
    return Image.fromarray(np.asarray(converted))  # without the profile, which Pillow would write to each file


def _xyz(point: Point) -> np.ndarray:
    x, y = point
    return np.array([x / y, 1, (1 - x - y) / y])


def _adapted(columns: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Scale the primaries so that their sum is the white point, then adapt it to D50 (Bradford)."""
    columns = columns * np.linalg.solve(columns, white)
    scale = np.diag((_BRADFORD @ D50) / (_BRADFORD @ white))
    adapted: np.ndarray = np.linalg.inv(_BRADFORD) @ scale @ _BRADFORD @ columns
    return adapted


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _xyz_tag(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _curve(gamma: float | None) -> bytes:
    if gamma is None:
        return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _text(text: str) -> bytes:
    utf16 = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(utf16), 28) + utf16


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _text("made"), b"cprt": _text("none"), b"wtpt": _xyz_tag(D50), **tags}
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">II", start + len(body), len(tag))
        body += tag + b"\0" * (-len(tag) % 4)
    rest = struct.pack(">I", len(tags)) + table + body
    head = struct.pack(">I4sI4s4s4s", 128 + len(rest), b"lcms", 0x04300000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H4s4s24x", 2024, 1, 1, 0, 0, 0, b"acsp", b"APPL") + _fixed(*D50)
    return head.ljust(128, b"\0") + rest
