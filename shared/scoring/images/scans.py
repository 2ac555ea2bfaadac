"""Removes the parts of a progressive JPEG (ITU-T T.81, annex G) that decoding at an eighth of its size does not need.

Such a file consists of scans: first the mean of each block (DC), then its detail (AC), in increasing precision. At an
eighth of the size, a block becomes one pixel, its mean, but decoders still process all the detail, which is most of the
file. The detail scans are therefore replaced by one scan of a few bytes without detail. The decoded pixels are
identical: the detail of subsampled components (mostly chroma) is still visible at an eighth, and is retained.
"""

from collections.abc import Iterator, Set
from typing import NamedTuple

from shared.scoring.images.segments import segments

_EOI, _SOS, _SOF2 = 0xD9, 0xDA, 0xC2
# One code (EOBn) encodes a run of at most 2^15 - 1 blocks without detail, in category 14.
_LARGEST_CATEGORY = 14
# A Huffman table with a code of four bits for each category: 0000 for 0, and so on (T.81, B.2.4.2).
_TABLE = b"\xff\xc4" + (34).to_bytes(2) + b"\x10" + bytes([0, 0, 0, 15, *[0] * 12]) + bytes(n << 4 for n in range(15))
_NO_RESTARTS = b"\xff\xdd\x00\x04\x00\x00"


class _Component(NamedTuple):
    """A colour component: its id in the file, and its number of blocks."""

    id: int
    blocks: int


def without_detail(data: bytes) -> bytes:
    """A progressive JPEG without the detail scans that are not needed for decoding at an eighth of its size.

    Truncated and irregular files are returned unchanged: the decoder reports the damage.
    """
    try:
        found = segments(data)
        frame = next(data[start:end] for marker, start, end in found if marker == _SOF2)
        reducible = {component.id: component for component in _reducible(frame)}
    except (IndexError, StopIteration):
        return data
    if not found or found[-1][0] != _EOI or not reducible:
        return data
    retained = [
        data[start:end] for marker, start, end in found[:-1] if not _is_detail(data, marker, start, reducible.keys())
    ]
    replacements = [_empty_detail_scan(component) for component in reducible.values()]
    return b"".join([b"\xff\xd8", *retained, _NO_RESTARTS, _TABLE, *replacements, b"\xff\xd9"])


def _reducible(frame: bytes) -> Iterator[_Component]:
    """The components whose blocks become one pixel each; the decoder renders blocks of subsampled ones larger."""
    height, width, count = int.from_bytes(frame[5:7]), int.from_bytes(frame[7:9]), frame[9]
    sampled = [(frame[at], frame[at + 1] >> 4, frame[at + 1] & 15) for at in range(10, 10 + 3 * count, 3)]
    most_across, most_down = max(across for _, across, _ in sampled), max(down for _, _, down in sampled)
    for name, across, down in sampled:
        if most_across % (2 * across) or most_down % (2 * down):
            blocks = -(-width * across // (8 * most_across)) * -(-height * down // (8 * most_down))
            yield _Component(name, blocks)


def _is_detail(data: bytes, marker: int, start: int, reducible: Set[int]) -> bool:
    """Whether the segment is a detail scan of a reducible component; detail scans have one component."""
    if marker != _SOS or data[start + 4] != 1:
        return False
    component, first = data[start + 5], data[start + 7]
    return first > 0 and component in reducible


def _empty_detail_scan(component: _Component) -> bytes:
    """A detail scan in which no block of the component has detail."""
    header = bytes([0xFF, _SOS, 0, 8, 1, component.id, 0, 1, 63, 0])
    bits, length, left = 0, 0, component.blocks
    while left:
        category = min(left.bit_length() - 1, _LARGEST_CATEGORY)
        run = min(left, (2 << category) - 1)
        bits = (bits << 4 | category) << category | run - (1 << category)
        length += 4 + category
        left -= run
    padding = -length % 8
    coded = (bits << padding | (1 << padding) - 1).to_bytes((length + padding) // 8)
    return header + coded.replace(b"\xff", b"\xff\x00")
