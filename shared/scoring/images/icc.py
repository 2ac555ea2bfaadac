"""The difference between an ICC profile and sRGB, computed from the profile's tags (ICC.1:2010).

It decides whether a conversion is worth its cost. Measured on nine photographs with the local model, whose outputs are
probabilities: ignoring a profile changes a probability by up to 0.07 (Display P3), 0.09 (Adobe RGB), 0.15 (ProPhoto
RGB) or 0.33 (sRGB's primaries with a linear curve); after a conversion, the change is 0.01, 0.01, 0.05 and 0.03. Saving
the same photographs as JPEG with quality 75 changes it by up to 0.09. Therefore a file that could be forwarded is
converted, and thus encoded again, only if its profile changes more than that; an image that is decoded anyway is always
converted.
"""

import struct
import zlib
from typing import NamedTuple


class Distance(NamedTuple):
    """The largest difference from sRGB: of the primaries' XYZ (at D50), and of the tone curve at one half."""

    primaries: float
    curve: float

    @property
    def is_none(self) -> bool:
        """Whether the profile is sRGB, up to rounding."""
        return self.primaries < 0.01 and self.curve < 0.01

    @property
    def is_small(self) -> bool:
        """Whether ignoring the profile changes scores no more than ordinary JPEG compression: P3 and Adobe RGB."""
        return self.primaries < 0.2 and self.curve < 0.05


UNKNOWN = Distance(1.0, 1.0)

_SRGB = {b"rXYZ": (0.4361, 0.2225, 0.0139), b"gXYZ": (0.3851, 0.7169, 0.0971), b"bXYZ": (0.1431, 0.0606, 0.7141)}
_SRGB_AT_HALF = 0.2140
_CURVES = {b"RGB ": (b"rTRC", b"gTRC", b"bTRC"), b"GRAY": (b"kTRC",)}
_MAX_TAGS = 100


def distance(profile: bytes) -> Distance:
    """Compare a profile with sRGB; ``UNKNOWN`` (a large distance) if it is not defined by primaries and tone curves."""
    try:
        return _distance(profile)
    except struct.error:
        return UNKNOWN


def inflate(compressed: bytes, limit: int = 65_536) -> bytes:
    """Decompress a PNG's profile; empty if it is invalid or longer than ``limit``, which no matrix profile is."""
    decompressor = zlib.decompressobj()
    try:
        profile = decompressor.decompress(compressed, limit)
    except zlib.error:
        return b""
    return b"" if decompressor.unconsumed_tail else profile


def _distance(profile: bytes) -> Distance:
    space = profile[16:20]
    tags = _tags(profile)
    names = _CURVES.get(space, ())
    if not names or b"A2B0" in tags or any(name not in tags for name in names):
        return UNKNOWN
    curve = max(abs(_at_half(tags[name]) - _SRGB_AT_HALF) for name in names)
    if space == b"GRAY":
        return Distance(0.0, curve)
    if any(name not in tags for name in _SRGB):
        return UNKNOWN
    return Distance(max(_primary_distance(tags[name], xyz) for name, xyz in _SRGB.items()), curve)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = struct.iter_unpack(">4sII", profile[132 : 132 + 12 * min(count, _MAX_TAGS)])
    return {name: profile[start : start + size] for name, start, size in entries}


def _primary_distance(tag: bytes, reference: tuple[float, float, float]) -> float:
    values: tuple[int, ...] = struct.unpack_from(">3i", tag, 8)
    return max(abs(value / 65536 - expected) for value, expected in zip(values, reference, strict=True))


def _at_half(tag: bytes) -> float:
    """The value of a tone curve at one half: ``curv`` is a gamma or a table, ``para`` a parametric function."""
    if tag[:4] == b"para":
        return _parametric_at_half(tag)
    if tag[:4] != b"curv":
        return 2.0
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return 0.5
    if count == 1:
        return float(0.5 ** (struct.unpack_from(">H", tag, 12)[0] / 256))
    low, high = (struct.unpack_from(">H", tag, 12 + 2 * at)[0] for at in ((count - 1) // 2, count // 2))
    return float(low + high) / 2 / 65535


def _parametric_at_half(tag: bytes) -> float:
    (kind,) = struct.unpack_from(">H", tag, 8)
    gamma, a, b, c = 1.0, 1.0, 0.0, 0.0
    if kind == 0:
        (gamma,) = _fixed(tag, 1)
    elif kind in {1, 3}:
        gamma, a, b = _fixed(tag, 3)
    elif kind == 2:
        gamma, a, b, c = _fixed(tag, 4)
    else:
        gamma, a, b, _, _, c, _ = _fixed(tag, 7)
    return float(max(0.5 * a + b, 0.0) ** min(max(gamma, 0.0), 10.0) + c)


def _fixed(tag: bytes, count: int) -> tuple[float, ...]:
    return tuple(value / 65536 for value in struct.unpack_from(f">{count}i", tag, 12))
