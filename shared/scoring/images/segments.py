"""Splits a whole JPEG file (ITU-T T.81, annex B) into its segments, without decoding the image data."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice

import numpy as np

_EOI, _SOS = 0xD9, 0xDA
# RST0 to RST7 differ in their last three bits.
_RESTARTS = 0xD0
# Cameras and encoders write some dozens. A file is searched in slices, because it may consist mostly of markers, and
# because a slice that fits into a processor's cache is searched several times faster.
_MAX_MARKERS, _SLICE = 10_000, 131_072

_ONE = np.uint8(1)
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


# A marker, and where the part of the file from it to the next segment starts and ends; that of a scan includes its
# coded data. A tuple without names: there are ten in each file.
type Segment = tuple[int, int, int]


def segments(data: bytes) -> Iterator[Segment]:
    """The segments between the file's first marker and the end of the image.

    The last one is the end marker, unless the file is truncated or irregular. A segment may end after the file.

    Raises:
        IndexError: the file ends within a marker, or has more markers than any encoder writes.
    """
    markers, at, size = _markers(data), 2, len(data)
    while at + 2 <= size:
        if data[at] != 0xFF:
            return
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == _EOI:
            yield marker, at, at + 2
            return
        end = at + 2 + (data[at + 2] << 8 | data[at + 3])
        if marker == _SOS:
            following = bisect_left(markers, end)
            end = markers[following] if following < len(markers) else size
        yield marker, at, end
        at = end


def _markers(data: bytes) -> list[int]:
    """The offsets of the markers outside coded data: 0xFF that is not followed by zero or a restart marker's code.

    Raises:
        IndexError: there are more than any encoder writes.
    """
    # In a small file numpy takes twice as long, and four times where its code is not in the processor's caches; a
    # regular expression takes up to ten nanoseconds a byte, which is too long for a large one that is mostly 0xFF.
    return in_small(data) if len(data) <= _SLICE else in_large(data)


def in_small(data: bytes) -> list[int]:
    """The markers' offsets, by a regular expression."""
    found = [match.start() for match in islice(_MARKER.finditer(data), _MAX_MARKERS + 1)]
    _check_number(found)
    return found


def in_large(data: bytes) -> list[int]:
    """Likewise, by numpy."""
    values, found = np.frombuffer(data, np.uint8), list[int]()
    for at in range(0, len(values), _SLICE):
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
