"""FastAPI with grpc.aio: ``uvicorn benchmarks.peers.fastapi_app:app --loop uvloop --http httptools``.

Bodies are read raw, and answers written by orjson, past FastAPI's own encoder.
"""

# Installed in the peer's own environment, where the types are not checked.
import orjson  # the gateway's environment has it too
from fastapi import FastAPI, Request, Response, UploadFile  # type: ignore[import-not-found,unused-ignore]

from benchmarks.peers.forwarding import Ranked, answer, service

app = FastAPI(openapi_url=None)


@app.get("/ready")  # type: ignore[untyped-decorator,unused-ignore]  # as above
async def ready() -> Response:
    """Answer the readiness check."""
    return Response()


@app.post("/score")  # type: ignore[untyped-decorator,unused-ignore]  # as above
async def score(request: Request) -> Response:
    """Label an image file, which is the body."""
    return _answer(await service().label(await request.body()))


@app.post("/photo")  # type: ignore[untyped-decorator,unused-ignore]  # as above
async def photo(request: Request) -> Response:
    """Label a photograph, which is the body, and decode it here."""
    return _answer(await service().label_photo(await request.body()))


@app.post("/pixels")  # type: ignore[untyped-decorator,unused-ignore]  # as above
async def pixels(request: Request) -> Response:
    """Label pixels, which are the body."""
    return _answer(await service().label_pixels(await request.body()))


@app.post("/files")  # type: ignore[untyped-decorator,unused-ignore]  # as above
async def files(photo: list[UploadFile]) -> Response:
    """Label the files of a form."""
    return _answer(*await service().label_all([await each.read() for each in photo]))


def _answer(*ranked: Ranked) -> Response:
    return Response(orjson.dumps(answer(*ranked)), media_type="application/json")
