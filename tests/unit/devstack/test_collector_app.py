"""The local collector keeps what is an export, and the latest of it."""

import httpx

from devstack.collector import app
from protos import otlp_trace_pb2 as traces


def trace(number: int) -> bytes:
    span = traces.Span(trace_id=number.to_bytes(16), span_id=number.to_bytes(8), name="score", end_time_unix_nano=5)
    scope = traces.ScopeSpans(spans=[span])
    return traces.ExportTraceRequest(resource_spans=[traces.ResourceSpans(scope_spans=[scope])]).SerializeToString()


async def test_the_latest_are_kept_and_nonsense_is_refused() -> None:
    transport = httpx.ASGITransport(app.CollectorApp().asgi())
    async with httpx.AsyncClient(transport=transport, base_url="http://collector") as client:
        refused = [await client.post(f"/v1/{signal}", content=b"\xff") for signal in ("traces", "metrics")]
        accepted = [await client.post("/v1/traces", content=trace(number)) for number in range(1, 25)]
        old, new = [await client.get(f"/traces/{number:032x}") for number in (4, 5)]
        shown = (await client.get("/")).text

    assert [answer.status_code for answer in refused] == [400, 400]
    assert {answer.status_code for answer in accepted} == {200}
    assert (old.status_code, new.status_code) == (404, 200)
    assert shown.count("trace ") == 20
    assert shown.endswith("metrics\n")
