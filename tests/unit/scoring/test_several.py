"""Several images of a request: which share a call, which one an error is about, and how their tasks end."""

import asyncio

import pytest

from shared.errors import DamagedImage, GatewayError, ServiceUnreachable
from shared.scoring.several import batches, gathered
from shared.scoring.types import Upload

UPLOADS = [Upload("a", b"first"), Upload("b", b"second"), Upload("c", b"third")]


@pytest.mark.parametrize(
    ("sizes", "most", "room", "expected"),
    [
        ([1, 1, 1], 8, 1000, [3]),
        ([1] * 9, 4, 1000, [4, 4, 1]),
        ([500, 500, 100], 8, 1000, [1, 2]),
        ([2000, 10], 8, 1000, [1, 1]),
        ([484, 484], 8, 1000, [2]),  # with 16 bytes for each
        ([484, 485], 8, 1000, [1, 1]),
        ([300, 300, 300, 300], 3, 948, [3, 1]),
        ([300, 300, 300, 300], 3, 947, [2, 2]),
    ],
)
def test_how_images_share_calls(sizes: list[int], most: int, room: int, expected: list[int]) -> None:
    assert [part.stop - part.start for part in batches(sizes, most, room)] == expected


@pytest.mark.parametrize(
    ("error", "members"),
    [(DamagedImage("It ends early."), {"file": "b", "index": 1}), (ServiceUnreachable("It does not respond."), {})],
)
async def test_the_first_failure_ends_the_others_and_names_its_image(
    error: GatewayError, members: dict[str, object]
) -> None:
    """Unless another image could have had the same trouble."""
    ended: list[str] = []

    async def work(upload: Upload) -> None:
        try:
            if upload.name == "b":
                raise error
            await asyncio.sleep(60)
        finally:
            ended.append(upload.name)

    with pytest.raises(GatewayError) as caught:
        await gathered(UPLOADS, work)

    assert caught.value is error
    assert error.members == members
    assert sorted(ended) == ["a", "b", "c"]
