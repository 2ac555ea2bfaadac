"""BentoML as a forwarding service: ``bentoml serve benchmarks.peers.bentoml_app:Forwarding``.

One worker; asynchronous methods, so that it has many calls under way. A file as the whole body is BentoML's ``Path``,
which it writes to a temporary file; a form's files likewise.
"""

from pathlib import Path
from typing import Any

import bentoml  # type: ignore[import-not-found,unused-ignore]  # in the peer's own environment

from benchmarks.peers.forwarding import answer, service


@bentoml.service(  # type: ignore[untyped-decorator,unused-ignore]  # as above
    workers=1,
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
    traffic={"timeout": 60, "concurrency": 256},
    http={"host": "127.0.0.1"},
)
class Forwarding:
    """Labels the images of a request."""

    @bentoml.api(route="/score")  # type: ignore[untyped-decorator,unused-ignore]  # as above
    async def score(self, image: Path, /) -> dict[str, Any]:
        """Label an image file, which is the body."""
        return answer(await service().label(image.read_bytes()))  # noqa: ASYNC240 - from memory mostly; a thread costs more

    @bentoml.api(route="/photo")  # type: ignore[untyped-decorator,unused-ignore]  # as above
    async def photo(self, image: Path, /) -> dict[str, Any]:
        """Label a photograph, which is the body, and decode it here."""
        return answer(await service().label_photo(image.read_bytes()))  # noqa: ASYNC240 - from memory mostly; a thread costs more

    @bentoml.api(route="/pixels")  # type: ignore[untyped-decorator,unused-ignore]  # as above
    async def pixels(self, data: Path, /) -> dict[str, Any]:
        """Label pixels, which are the body."""
        return answer(await service().label_pixels(data.read_bytes()))  # noqa: ASYNC240 - as above

    @bentoml.api(route="/files")  # type: ignore[untyped-decorator,unused-ignore]  # as above
    async def files(self, photo: list[Path]) -> dict[str, Any]:
        """Label the files of a form."""
        return answer(*await service().label_all([file.read_bytes() for file in photo]))
