"""Application Insights' ingestion endpoint on loopback: it keeps the items that it accepts."""

import gzip
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0fdcec70-0ce5-4085-89d9-9ae8ead9af66"

type Item = dict[str, Any]

# The members of an item's data that the endpoint's schemas require.
_REQUIRED = {"MetricData": {"ver", "metrics"}, "RemoteDependencyData": {"ver", "name", "id", "duration"}}
_DURATION = re.compile(r"\d{1,3}\.\d{2}:\d{2}:\d{2}\.\d{6}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@dataclass
class Ingestion:
    """``items`` are what was accepted, in their order, ``headers`` those of each request.

    The next requests are answered with ``status`` and ``answer_headers``; of one with 206, the items at the indexes in
    ``faults`` have that status and are not accepted.
    """

    url: str = ""
    status: int = 200
    answer_headers: dict[str, str] = field(default_factory=dict)
    faults: dict[int, int] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def connection_string(self) -> str:
        return f"InstrumentationKey={KEY};IngestionEndpoint={self.url}/"

    def metrics(self, name: str) -> list[tuple[Mapping[str, str], float, int]]:
        """The points of a metric: properties, value and count."""
        return [
            (data["properties"], point["value"], point["count"])
            for data in self.data("MetricData")
            for point in data["metrics"]
            if point["name"] == name
        ]

    def data(self, kind: str) -> list[dict[str, Any]]:
        return [item["data"]["baseData"] for item in self.items if item["data"]["baseType"] == kind]


def check(item: Item) -> None:
    """Fail where the endpoint would not accept an item."""
    kind, data = item["data"]["baseType"], item["data"]["baseData"]
    assert item["name"] == f"Microsoft.ApplicationInsights.{kind.removesuffix('Data')}"
    assert item["iKey"] == KEY
    assert _TIME.fullmatch(item["time"])
    assert _REQUIRED[kind] <= data.keys()
    assert data["ver"] == 2
    if kind == "MetricData":
        [point] = data["metrics"]  # of several, it uses the first
        assert point["count"] > 0
    else:
        assert _DURATION.fullmatch(data["duration"])
    assert all(isinstance(value, str) for value in (*item["tags"].values(), *data.get("properties", {}).values()))


@contextmanager
def running_ingestion() -> Iterator[Ingestion]:
    """An endpoint that accepts everything."""
    ingestion = Ingestion()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            ingestion.headers.append({name.lower(): value for name, value in self.headers.items()})
            ingestion.bodies.append(body)
            status = ingestion.status if self.path == "/v2.1/track" else 404
            items = [json.loads(line) for line in body.split(b"\n")]
            for item in items:
                check(item)
            errors = [
                {"index": index, "statusCode": code, "message": "no"}
                for index, code in ingestion.faults.items()
                if status == 206
            ]
            refused = {error["index"] for error in errors}
            if 200 <= status < 300:
                ingestion.items += [item for index, item in enumerate(items) if index not in refused]
            answer = json.dumps(
                {"itemsReceived": len(items), "itemsAccepted": len(items) - len(errors), "errors": errors}
            ).encode()
            self.send_response(status)
            for name, value in {**ingestion.answer_headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    ingestion.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield ingestion
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
