"""How far an ICC profile is from sRGB, read from its tags alone (ICC.1:2010): is a conversion worth its price?

What was found on nine photographs with the local model, whose answers are probabilities. Ignoring a profile moves one
of them by up to 0.07 (Display P3), 0.09 (Adobe RGB), 0.15 (ProPhoto RGB) or 0.33 (sRGB's primaries, a linear curve); a
conversion leaves 0.01, 0.01, 0.05 and 0.03 of that. Saving the same photographs as JPEG of quality 75 moves it by up to
0.09. So a file that could be forwarded is converted, and thus re-encoded, only for a profile that does more harm than
that; a picture that is decoded here anyway is always converted.
"""

import struct
import zlib
from typing import NamedTuple


class Distance(NamedTuple):
    """The largest difference from sRGB: of the primaries' XYZ (at D50), and of the light at half the signal."""

    primaries: float
    curve: float

    @property
    def is_none(self) -> bool:
        """Whether it is sRGB, whoever wrote it down and however it was rounded."""
        return self.primaries < 0.01 and self.curve < 0.01

    @property
    def is_small(self) -> bool:
        """Whether ignoring the profile harms the labels no more than an ordinary JPEG does: P3 and Adobe RGB."""
        return self.primaries < 0.2 and self.curve < 0.05


UNKNOWN = Distance(1.0, 1.0)

_SRGB = {b"rXYZ": (0.4361, 0.2225, 0.0139), b"gXYZ": (0.3851, 0.7169, 0.0971), b"bXYZ": (0.1431, 0.0606, 0.7141)}
_SRGB_AT_HALF = 0.2140
_CURVES = {b"RGB ": (b"rTRC", b"gTRC", b"bTRC"), b"GRAY": (b"kTRC",)}
_MAX_TAGS = 100


def distance(profile: bytes) -> Distance:
    """Compare a profile with sRGB; ``UNKNOWN``, which is far, where it is not described by primaries and curves."""
    try:
        return _distance(profile)
    except struct.error:
        return UNKNOWN


def inflate(packed: bytes, limit: int = 65_536) -> bytes:
    """A profile as PNG packs it; empty where it is broken or longer than ``limit``, as no simple profile is."""
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed, limit)
    except zlib.error:
        return b""
    return b"" if unpacker.unconsumed_tail else profile


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


def _primary_distance(tag: bytes, wanted: tuple[float, float, float]) -> float:
    found: tuple[int, ...] = struct.unpack_from(">3i", tag, 8)
    return max(abs(value / 65536 - goal) for value, goal in zip(found, wanted, strict=True))


def _at_half(tag: bytes) -> float:
    """The value of a tone curve at one half: ``curv`` is a gamma or a table, ``para`` a formula."""
    if tag[:4] == b"para":
        return _formula_at_half(tag)
    if tag[:4] != b"curv":
        return 2.0
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return 0.5
    if count == 1:
        return float(0.5 ** (struct.unpack_from(">H", tag, 12)[0] / 256))
    low, high = (struct.unpack_from(">H", tag, 12 + 2 * at)[0] for at in ((count - 1) // 2, count // 2))
    return float(low + high) / 2 / 65535


def _formula_at_half(tag: bytes) -> float:
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
