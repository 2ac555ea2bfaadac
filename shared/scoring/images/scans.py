"""Leaves out of a progressive JPEG what decoding it at an eighth of its size makes no use of (ITU-T T.81, annex G).

Such a file comes in scans: first every block's mean (DC), then its detail (AC), finer and finer. At an eighth of the
size a block becomes one pixel, its mean, and yet decoders work through all the detail, which is most of the file. Here
the detail's scans are taken out, and replaced by one of some bytes that says there is none. The pixels are the very
same: a component of fewer samples (chroma, mostly), whose detail is still seen at an eighth, keeps its own.
"""

from collections.abc import Iterator, Set
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_EOI, _SOS, _SOF2 = 0xD9, 0xDA, 0xC2
# RST0 to RST7 differ in their last three bits.
_RESTARTS = 0xD0
# Cameras and encoders write some dozens. A file is looked at in slices, since it may be made of little else.
_MAX_MARKERS, _SLICE = 10_000, 1 << 20
# The largest run of blocks without detail that one code stands for is 2^15 - 1, of category 14.
_LARGEST_CATEGORY = 14
# A table with a code of four bits for each category: 0000 for 0, and so on (T.81, B.2.4.2).
_TABLE = b"\xff\xc4" + (34).to_bytes(2) + b"\x10" + bytes([0, 0, 0, 15, *[0] * 12]) + bytes(n << 4 for n in range(15))
_NO_RESTARTS = b"\xff\xdd\x00\x04\x00\x00"


class _Component(NamedTuple):
    """A colour component: its id in the file, and the number of its blocks."""

    id: int
    blocks: int


class _Segment(NamedTuple):
    marker: int
    start: int
    end: int


def without_detail(data: bytes) -> bytes:
    """What is needed of a progressive JPEG to decode it at an eighth of its size; all of it where that is unclear.

    A file that is cut short, or otherwise odd, is left to the decoder to complain about.
    """
    try:
        segments = list(_segments(data))
        frame = next(data[one.start : one.end] for one in segments if one.marker == _SOF2)
        coarse = {component.id: component for component in _coarse(frame)}
    except (IndexError, StopIteration):
        return data
    if not segments or segments[-1].marker != _EOI or not coarse:
        return data
    kept = [data[one.start : one.end] for one in segments[:-1] if not _is_detail(data, one, coarse.keys())]
    closing = [_no_detail(component) for component in coarse.values()]
    return b"".join([b"\xff\xd8", *kept, _NO_RESTARTS, _TABLE, *closing, b"\xff\xd9"])


def _segments(data: bytes) -> Iterator[_Segment]:
    """Everything behind the file's first marker up to the end of the picture; a scan with its coded data."""
    markers = _markers(data)
    at = 2
    while at + 2 <= len(data):
        if data[at] != 0xFF:
            return
        marker = data[at + 1]
        if marker == 0xFF:  # a filling byte
            at += 1
            continue
        end = at + 2
        if marker != _EOI:
            end += int.from_bytes(data[at + 2 : at + 4])
            if marker == _SOS:
                following = int(np.searchsorted(markers, end))
                end = int(markers[following]) if following < len(markers) else len(data)
        yield _Segment(marker, at, end)
        if marker == _EOI:
            return
        at = end


def _markers(data: bytes) -> npt.NDArray[np.intp]:
    """Where markers are, but those within coded data: 0xFF with something else behind it than a zero or a restart.

    Raises:
        IndexError: there are more than any encoder writes.
    """
    values, found, count = np.frombuffer(data, np.uint8), [np.empty(0, np.intp)], 0
    for at in range(0, len(values), _SLICE):
        part = values[at : at + _SLICE + 1]
        behind = part[1:]
        marks = (part[:-1] == 0xFF) & (behind != 0) & (behind != 0xFF) & (behind & 0xF8 != _RESTARTS)
        found.append(np.flatnonzero(marks) + at)
        count += len(found[-1])
        if count > _MAX_MARKERS:
            raise IndexError(f"{count} markers")
    return np.concatenate(found)


def _coarse(frame: bytes) -> Iterator[_Component]:
    """The components of which a block becomes one pixel; the decoder gives those of fewer samples more."""
    height, width, count = int.from_bytes(frame[5:7]), int.from_bytes(frame[7:9]), frame[9]
    sampled = [(frame[at], frame[at + 1] >> 4, frame[at + 1] & 15) for at in range(10, 10 + 3 * count, 3)]
    most_across, most_down = max(one[1] for one in sampled), max(one[2] for one in sampled)
    for name, across, down in sampled:
        if most_across % (2 * across) or most_down % (2 * down):
            blocks = -(-width * across // (8 * most_across)) * -(-height * down // (8 * most_down))
            yield _Component(name, blocks)


def _is_detail(data: bytes, segment: _Segment, coarse: Set[int]) -> bool:
    """Whether it is a scan of the detail of a component that needs none; such a scan has one component."""
    if segment.marker != _SOS or data[segment.start + 4] != 1:
        return False
    component, first = data[segment.start + 5], data[segment.start + 7]
    return first > 0 and component in coarse


def _no_detail(component: _Component) -> bytes:
    """A scan that says of every block of a component that it has no detail."""
    header = bytes([0xFF, _SOS, 0, 8, 1, component.id, 0, 1, 63, 0])
    bits, length, left = 0, 0, component.blocks
    while left:
        category = min(left.bit_length() - 1, _LARGEST_CATEGORY)
        run = min(left, (2 << category) - 1)
        bits = (bits << 4 | category) << category | run - (1 << category)
        length += 4 + category
        left -= run
    filling = -length % 8
    coded = (bits << filling | (1 << filling) - 1).to_bytes((length + filling) // 8)
    return header + coded.replace(b"\xff", b"\xff\x00")
