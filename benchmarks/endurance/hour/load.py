"""A steady load, whose every answer is compared with the first one of its kind."""

import asyncio
import base64
import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from benchmarks.harness.errors import BenchmarkFailed
from benchmarks.harness.images import jpeg

CLIENTS, RATE = 4, 40.0

_TIMEOUT = 60.0
_PRINTABLE = 300
# Before the load, while the app makes its first connections.
_ATTEMPTS, _PAUSE = 100, 0.1

type Json = Any


@dataclass(frozen=True)
class Kind:
    """Requests of one kind, and what of their answers must not change."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    scores: Callable[[Json], Json]


@dataclass
class Window:
    """The requests that were answered in a time: their number, what went wrong, and how long each took, in seconds."""

    requests: int = 0
    lost: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, other: "Window") -> None:
        self.requests += other.requests
        self.lost += other.lost
        self.seconds += other.seconds


class Load:
    """Clients that send requests at a steady rate, whether or not the earlier ones are answered.

    A request is lost where its answer is not the right scores, whatever the cause.
    """

    # _expected  of each kind, the scores of its first answer

    def __init__(self, url: str, kinds: Mapping[str, Kind]) -> None:
        self.window = Window()
        self.model_version = ""
        self._url = url
        self._kinds = kinds
        self._expected: dict[str, Json] = {}

    async def run(self, over: asyncio.Event) -> None:
        """Send requests until ``over`` is set; returns when all are answered."""
        async with asyncio.TaskGroup() as group:
            for client in range(CLIENTS):
                group.create_task(self._client(client, over))

    async def prepare(self) -> None:
        """Get the first answers.

        Raises:
            BenchmarkFailed: a kind of requests is not answered with scores.
        """
        async with self._session() as session:
            for name, kind in self._kinds.items():
                self._expected[name] = await self._first(session, kind)

    def take(self) -> Window:
        """The requests that were answered since the last call."""
        taken, self.window = self.window, Window()
        return taken

    async def _first(self, session: aiohttp.ClientSession, kind: Kind) -> Json:
        problem = ""
        for _ in range(_ATTEMPTS):
            status, document = await self._post(session, kind)
            if status == 200:
                return kind.scores(document)
            problem = f"{kind.path} was answered by {status}: {document}"
            await asyncio.sleep(_PAUSE)
        raise BenchmarkFailed(problem[:_PRINTABLE])

    async def _client(self, client: int, over: asyncio.Event) -> None:
        names = itertools.cycle(self._kinds)
        began = time.monotonic() + client / RATE
        async with self._session() as session, asyncio.TaskGroup() as group:
            for number, name in enumerate(itertools.islice(names, client, None)):
                await asyncio.sleep(max(0.0, began + number * CLIENTS / RATE - time.monotonic()))
                if over.is_set():
                    break
                group.create_task(self._one(session, name))

    async def _one(self, session: aiohttp.ClientSession, name: str) -> None:
        began, problem = time.monotonic(), ""
        kind = self._kinds[name]
        try:
            status, document = await self._post(session, kind)
            if status != 200:
                problem = f"{status} {document}"
            elif kind.scores(document) != self._expected[name]:
                problem = f"other scores: {document}"
            elif name == "score":
                self.model_version = document["predictions"][0]["model_version"]
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as error:
            problem = f"{type(error).__name__} {error}"
        window = self.window
        window.requests += 1
        window.seconds.append(time.monotonic() - began)
        if problem:
            window.lost.append(f"{name}: {problem}"[:_PRINTABLE])

    async def _post(self, session: aiohttp.ClientSession, kind: Kind) -> tuple[int, Json]:
        async with session.post(kind.path, data=kind.body, headers=kind.headers) as answer:
            return answer.status, json.loads(await answer.read())

    def _session(self) -> aiohttp.ClientSession:
        # As many connections as requests are under way: none waits for another one's answer.
        connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(_TIMEOUT)
        return aiohttp.ClientSession(self._url, connector=connector, timeout=timeout)


def kinds(two_instances: str) -> dict[str, Kind]:
    """The kinds of requests; ``two_instances`` is the service of that name."""
    file = jpeg(20_000)
    text = base64.b64encode(file).decode()
    photo, document = {"Content-Type": "image/jpeg"}, {"Content-Type": "application/json"}
    rows = json.dumps({"instances": [{"b64": text}]}).encode()
    content = len(file).to_bytes(4, "little") + file
    parameters = {"binary_data_size": len(content)}
    head = json.dumps({"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], "parameters": parameters}]})
    binary = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return {
        "score": Kind("/api/score", photo, file, _labels),
        "score, tensor": Kind("/api/services/imagenet-tensor/score", photo, file, _labels),
        "score, two instances": Kind(f"/api/services/{two_instances}/score", photo, file, _labels),
        "TensorFlow Serving": Kind("/v1/models/imagenet:predict", document, rows, lambda found: found["predictions"]),
        "Open Inference": Kind("/v2/models/imagenet-open/infer", binary, head.encode() + content, _outputs),
    }


def _labels(found: Json) -> Json:
    return [each["labels"] for each in found["predictions"]]


def _outputs(found: Json) -> Json:
    return [each["data"] for each in found["outputs"]]
