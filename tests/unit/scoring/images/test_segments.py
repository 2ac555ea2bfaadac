"""The markers of a JPEG file are found alike in small and in large files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.scoring.images.segments import in_large, in_small, segments

# Of a random byte, hardly any would be a part of a marker.
FILES = st.lists(st.sampled_from(b"\xff\x00\xd0\xd7\xd8\xd9\xda\x41")).map(bytes)


@given(FILES)
def test_both_ways_find_the_same_markers(file: bytes) -> None:
    expected = [
        at for at in range(len(file) - 1) if file[at] == 0xFF and file[at + 1] not in {0, 0xFF, *range(0xD0, 0xD8)}
    ]

    assert in_small(file) == in_large(file) == expected


@pytest.mark.parametrize("size", [60_000, 600_000])
def test_a_file_of_nothing_but_markers_is_refused(size: int) -> None:
    with pytest.raises(IndexError, match="markers"):
        segments(b"\xff\xd8\xff\xda\x00\x02" + b"\xff\xe1" * (size // 2))
