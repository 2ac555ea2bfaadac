"""Splits a whole JPEG file (ITU-T T.81, annex B) into its segments, without decoding the image data."""

import re
from bisect import bisect_left
from itertools import islice
from struct import Struct
from typing import NamedTuple

import numpy as np

from shared.errors import DamagedImage

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
# RST0 to RST7 differ in their last three bits.
_RESTARTS = 0xD0
_FILL = 0xFF
# Huffman and quantization tables, number of lines, restart interval: most of the segments before a scan.
TABLES = frozenset({0xC4, 0xDB, 0xDC, 0xDD})
# All of the above, and the markers without a segment.
_SPECIAL = frozenset({_FILL, _EOI, _SOS, 0x00, 0x01, *range(_RESTARTS, _SOI + 1)})
# A marker's two bytes, and the length of its segment.
_START = Struct(">BBH").unpack_from

# Cameras write some dozens of segments, a few hundred with extended metadata and profiles in several segments.
_MAX_SEGMENTS = 2000
_MAX_JUNK = 4096
# A file is searched for markers in slices, because it may consist mostly of them, and because a slice that fits into a
# processor's cache is searched several times faster.
_MAX_MARKERS, _SLICE = 10_000, 131_072

_ONE = np.uint8(1)
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

# A marker, and where the part of the file from it to the next segment starts and ends; that of a scan includes its
# coded data. A tuple without names: there are ten in each file.
type Segment = tuple[int, int, int]


class Head(NamedTuple):
    """The segments before the first scan of a file, but for ``TABLES``, and where the scan starts.

    ``regular``: there is nothing between them but padding and tables. A segment may end after the file.
    """

    segments: list[Segment]
    scan: int
    regular: bool


def head(data: bytes) -> Head:
    """What precedes the first scan. Bytes between segments are skipped, as decoders do.

    Raises:
        DamagedImage: there is no scan, or more segments before it than any camera or encoder writes.
    """
    found, regular = list[Segment](), True
    at, last = 2, len(data) - 5
    for _ in range(_MAX_SEGMENTS):
        if at > last:
            break
        lead, marker, size = _START(data, at)
        if lead == 0xFF and marker not in _SPECIAL:
            end = at + 2 + size
            if marker not in TABLES:
                found.append((marker, at, end))
            at = end
        elif lead != 0xFF:
            at, regular = data.find(b"\xff", at, at + _MAX_JUNK), False
            if at < 0:
                break
        elif marker == _SOS:
            return Head(found, at, regular)
        elif marker == _EOI:
            break
        else:
            at += 1 if marker == _FILL else 2
            regular = regular and marker == _FILL
    else:
        raise DamagedImage("The JPEG file has too many segments before the image data.")
    raise DamagedImage("The JPEG file ends before the image data.")


def segments(data: bytes, at: int = 2) -> list[Segment]:
    """The segments from the one at ``at`` to the end of the image.

    The last one is the end marker, unless the file is truncated or irregular.

    Raises:
        IndexError: the file ends within a marker, or has more markers than any encoder writes.
    """
    markers, found, size = _markers(data, at), list[Segment](), len(data)
    while at + 2 <= size and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == _FILL:
            at += 1
            continue
        if marker == _EOI:
            found.append((marker, at, at + 2))
            break
        end = at + 2 + (data[at + 2] << 8 | data[at + 3])
        if marker == _SOS:
            following = bisect_left(markers, end)
            end = markers[following] if following < len(markers) else size
        found.append((marker, at, end))
        at = end
    return found


def _markers(data: bytes, at: int) -> list[int]:
    """The offsets from ``at`` on of the markers outside coded data.

    They are 0xFF that is not followed by zero or a restart marker's code.

    Raises:
        IndexError: there are more than any encoder writes.
    """
    # In a small file numpy takes twice as long, and four times where its code is not in the processor's caches; a
    # regular expression takes up to ten nanoseconds a byte, which is too long for a large one that is mostly 0xFF.
    return in_small(data, at) if len(data) <= _SLICE else in_large(data, at)


def in_small(data: bytes, start: int = 0) -> list[int]:
    """The markers' offsets, by a regular expression."""
    found = [match.start() for match in islice(_MARKER.finditer(data, start), _MAX_MARKERS + 1)]
    _check_number(found)
    return found


def in_large(data: bytes, start: int = 0) -> list[int]:
    """Likewise, by numpy."""
    values, found = np.frombuffer(data, np.uint8), list[int]()
    for at in range(start, len(values), _SLICE):
        part = values[at : at + _SLICE + 1]
        following = part[1:]
        # Less one, 0x00 and 0xFF become the two largest numbers. Restart markers are sorted out afterwards, where few
        # bytes are left.
        places = ((part[:-1] == 0xFF) & (following - _ONE < 0xFE)).nonzero()[0]
        if len(places):
            found += (places[following[places] & 0xF8 != _RESTARTS] + at).tolist()
        _check_number(found)
    return found


def _check_number(markers: list[int]) -> None:
    if len(markers) > _MAX_MARKERS:
        raise IndexError(f"{len(markers)} markers")
