"""The header of a JPEG file (ITU-T T.81, annex B): a walk over its segments, in about ten microseconds."""

from dataclasses import dataclass, field

import numpy as np

from shared.errors import DamagedImage
from shared.scoring.images import icc, tiff
from shared.scoring.images.header import Header

_SOI, _EOI, _SOS, _APP1, _APP2 = 0xD8, 0xD9, 0xDA, 0xE1, 0xE2
# Start of frame: baseline, extended and progressive are the ones with Huffman codes that every decoder reads.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_COMMON_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_PROGRESSIVE = 0xC2

# Cameras write some dozens of segments; extended metadata and profiles in pieces make it a few hundred.
_MAX_SEGMENTS = 2000
_MAX_JUNK = 4096
# A progressive picture has about ten scans. Each costs the decoder a pass over the whole picture, however short it is.
_MAX_SCANS = 100
_SLICE = 131_072  # fits a processor's cache: six times faster than a megabyte


@dataclass(slots=True)
class _Facts:
    """What the segments say, as the walk comes to know it."""

    frame: int = 0
    precision: int = 0
    height: int = 0
    width: int = 0
    components: int = 0
    orientation: int = 1
    has_exif: bool = False
    profiles: list[bytes] = field(default_factory=list)


def read(data: bytes) -> Header:
    """Read the header of a JPEG file.

    Raises:
        DamagedImage: it ends early, or nothing that a camera or an encoder would write.
    """
    facts = _Facts()
    scan = _walk(data, facts)
    if not facts.frame or not facts.width or not facts.height:
        raise DamagedImage("The JPEG file does not say how large its picture is.")
    _check_scans(data, scan, facts)
    return Header(facts.width, facts.height, _is_plain(facts))


def _is_plain(facts: _Facts) -> bool:
    """Four components are CMYK or Adobe's YCCK, which decoders of RGB refuse or show in wrong colours."""
    return (
        facts.frame in _COMMON_FRAMES
        and facts.precision == 8
        and facts.components in {1, 3}
        and facts.orientation == 1
        and (not facts.profiles or (len(facts.profiles) == 1 and icc.distance(facts.profiles[0]).is_small))
    )


def _walk(data: bytes, facts: _Facts) -> int:
    """Collect the facts up to the first scan, and return where it begins."""
    at, end = 2, len(data)
    for _ in range(_MAX_SEGMENTS):
        if data[at : at + 1] != b"\xff":
            at = data.find(b"\xff", at, at + _MAX_JUNK)  # bytes between segments mean nothing
        if at < 0 or at + 5 > end:
            break
        marker = data[at + 1]
        if marker == _SOS:
            return at
        if marker == _EOI:
            break
        if marker == 0xFF or marker <= 0x01 or 0xD0 <= marker <= _SOI:  # padding, or a marker without a segment
            at += 1 if marker == 0xFF else 2
            continue
        size = data[at + 2] << 8 | data[at + 3]
        if marker in _FRAMES or marker in {_APP1, _APP2}:
            _note(facts, marker, data[at + 4 : at + 2 + size])
        at += 2 + size
    else:
        raise DamagedImage("The JPEG file has more segments before its picture than any camera writes.")
    raise DamagedImage("The JPEG file ends before its picture begins.")


def _note(facts: _Facts, marker: int, segment: bytes) -> None:
    if marker in _FRAMES:
        if not facts.frame and len(segment) >= 6:
            facts.frame, facts.precision, facts.components = marker, segment[0], segment[5]
            facts.height = segment[1] << 8 | segment[2]
            facts.width = segment[3] << 8 | segment[4]
    elif marker == _APP1:
        if not facts.has_exif and segment.startswith(b"Exif\x00\x00"):
            facts.has_exif = True
            facts.orientation = tiff.orientation(segment)
    elif segment.startswith(b"ICC_PROFILE\x00"):
        facts.profiles.append(segment[14:])  # behind the name stand the piece's number and the number of pieces


def _check_scans(data: bytes, start: int, facts: _Facts) -> None:
    """Count the scans where there may be several: coded data holds no marker. About 0.1 ms a megabyte.

    A sequential picture whose first scan holds all components has no second one: decoders stop behind it.
    """
    if facts.frame != _PROGRESSIVE and data[start + 4] == facts.components:
        return
    values = np.frombuffer(data, np.uint8, offset=start)
    scans = 0
    for at in range(0, len(values), _SLICE):
        part = values[at : at + _SLICE + 1]
        scans += int(np.count_nonzero((part[:-1] == 0xFF) & (part[1:] == _SOS)))  # seven times faster than bytes.count
        if scans > _MAX_SCANS:
            raise DamagedImage(f"The JPEG file has more than {_MAX_SCANS} scans, as no camera or encoder writes.")
