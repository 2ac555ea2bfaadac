"""``up --telemetry``: what the gateway exported of the sample photograph, from the stack's collector."""

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path

import httpx

from devstack.errors import CommandError

# Milliseconds between two exports of the stack's gateway.
_INTERVAL = 1000

# Seconds for the trace and the metrics to arrive.
_TIMEOUT = 20.0

# In the table once the sample was counted.
_COUNTED = "scoring.request.duration"


class NotExported(CommandError):
    """The gateway exported nothing."""


def settings(collector: str) -> Mapping[str, str]:
    """The settings that make the gateway export to the stack's collector."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector, "OTEL_METRIC_EXPORT_INTERVAL": str(_INTERVAL)}


def traceparent() -> str:
    """A new trace that is sampled, as a caller sends it."""
    return f"00-{random.getrandbits(128) or 1:032x}-{random.getrandbits(64) or 1:016x}-01"


async def show(collector: str, header: str, log: Path) -> str:
    """The trace of a request with that header, the same as the FPGA service logged it, and the metrics.

    Raises:
        NotExported: they did not arrive.
    """
    trace_id = header[3:35]
    try:
        async with httpx.AsyncClient(base_url=collector, timeout=_TIMEOUT, trust_env=False) as client:
            async with asyncio.timeout(_TIMEOUT):
                # The other process does not say when it has them.
                while (answer := await client.get(f"/traces/{trace_id}")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
                while _COUNTED not in (everything := (await client.get("/")).text):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
    except (TimeoutError, httpx.HTTPError):
        raise NotExported(f"The gateway exported no trace or no metrics to {collector}: start again") from None
    _, _, metrics = everything.partition("metrics\n")
    return f"\n{answer.text}{_service_line(log, trace_id)}\nmetrics\n{metrics}"


def _service_line(log: Path, trace_id: str) -> str:
    """What the FPGA service logged of the trace."""
    lines = log.read_text(errors="replace").splitlines()
    found = next((line for line in lines if trace_id in line), "")
    return f"  in {log.name}: {found}\n" if found else ""
