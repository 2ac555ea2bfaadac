"""The project's targets: each a ratio or difference of medians taken in one run, or a time, with two bars."""

from collections.abc import Mapping
from typing import NamedTuple


class Bar(NamedTuple):
    """A target: ``must`` is the bar to reach, ``aim`` the one to be the best of its kind with.

    ``smaller`` says which way is better; ``why`` what keeps it from its bar, where it misses one.
    """

    what: str
    must: float
    aim: float
    smaller: bool
    unit: str = ""
    why: str = ""

    def reaches(self, value: float, bar: float) -> bool:
        """Whether a value is at least as good as a bar."""
        return value <= bar if self.smaller else value >= bar

    def verdict(self, value: float) -> str:
        """How a value stands to both bars, in a few words."""
        if self.reaches(value, self.aim):
            return "✓ aim"
        if self.reaches(value, self.must):
            return f"✓ must, {self._missing(value, self.aim)} of the aim"
        return f"✗ {self._missing(value, self.must)} of the must"

    def written(self, value: float) -> str:
        """A value with its unit, to as many digits as tell something."""
        digits = 3 if abs(value) < 10 and self.unit != "ms" else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
        return f"{value:.{digits}f}{self.unit and ' '}{self.unit}"

    def _missing(self, value: float, bar: float) -> str:
        """How far a value is from a bar, in the bar's share."""
        share = abs(value - bar) / abs(bar)
        return f"{share:.1%} short" if share < 0.1 else f"{share:.0%} short"


BARS: Mapping[str, Bar] = {
    "native_c1_added_ms": Bar(
        "native invocation of the worker, less the floor: 20 KB, one at a time",
        0.20,
        0.10,
        smaller=True,
        unit="ms",
        why="In a loop without the call the same code takes 0.06 ms, a fifth of it the worker library's. Between two"
        " calls the one processor falls idle and gRPC's threads have it, so the interpreter finds its caches cold and"
        " takes three times as long. What would be left to save are single microseconds.",
    ),
    "native_c16_cpu_vs_direct": Bar(
        "processor time a request: native invocation over direct `grpc.aio` with protobuf objects",
        1.6,
        1.3,
        smaller=True,
    ),
    "http_c1_p50_vs_envoy": Bar(
        "median time through the local host over Envoy's transcoder, one at a time", 0.85, 0.70, smaller=True
    ),
    "http_c16_rps_vs_envoy": Bar(
        "requests a second over Envoy's, 16 at a time",
        1.8,
        2.4,
        smaller=False,
        why="Of a request's processor time 30 % is gRPC's own (the floor), 40 % the worker library's and the"
        " gateway's, 30 % the local host's HTTP, which is uvicorn's and does not run in Azure. Envoy is C++.",
    ),
    "http_c16_rps_vs_fastapi": Bar("likewise over FastAPI's", 1.0, 1.5, smaller=False),
    "http_c16_rps_vs_litserve": Bar(
        "likewise over LitServe's",
        5,
        10,
        smaller=False,
        why="It moves between 4.1 and 5.3 from run to run, as LitServe itself does: two processes and a queue that"
        " share one processor.",
    ),
    "http_c16_rps_vs_bentoml": Bar("likewise over BentoML's", 5, 10, smaller=False),
    "fpga_use_c16": Bar(
        "share of the 1.8 ms service's capacity that is used, 16 at a time", 0.99, 0.995, smaller=False
    ),
    "photo_12mp_vs_naive": Bar(
        "12 megapixels to a tensor, baseline JPEG: speed over the naive decode", 4.5, 4.8, smaller=False
    ),
    "photo_12mp_progressive_vs_naive": Bar("likewise, progressive JPEG", 1.9, 2.2, smaller=False),
    "photo_12mp_extra_mb": Bar("extra memory of it", 10, 5, smaller=True, unit="MB"),
    "tensor_600k_vs_direct": Bar(
        "native invocation with a 600 KB tensor over the direct call assembled by hand", 1.3, 1.1, smaller=True
    ),
    "cold_indexed_ms": Bar("process start to app indexed", 350, 250, smaller=True, unit="ms"),
    "cold_first_score_ms": Bar("process start to the first scored answer", 800, 500, smaller=True, unit="ms"),
    "overload_goodput": Bar("goodput at twice the capacity, over the capacity", 0.95, 0.99, smaller=False),
    "overload_refusal_p50_ms": Bar("a refusal's median time", 10, 3, smaller=True, unit="ms"),
}


def table(ratios: Mapping[str, float]) -> list[str]:
    """The targets as a markdown table, with what was measured."""
    lines = ["| target | what | measured | must | aim | |", "|---|---|---:|---:|---:|---|"]
    for name, bar in BARS.items():
        bars = f"{'≤' if bar.smaller else '≥'} {bar.must:g} | {bar.aim:g}"
        if name in ratios:
            lines.append(
                f"| `{name}` | {bar.what} | {bar.written(ratios[name])} | {bars} | {bar.verdict(ratios[name])} |"
            )
        else:
            lines.append(f"| `{name}` | {bar.what} | | {bars} | not measured in this run |")
    return lines


def missed(ratios: Mapping[str, float]) -> list[str]:
    """A line for each ``must`` that was missed, with what keeps it, as far as that is known."""
    return [
        f"- `{name}`: {bar.written(ratios[name])} where {bar.written(bar.must)} was to be reached. {bar.why}".rstrip()
        for name, bar in BARS.items()
        if name in ratios and not bar.reaches(ratios[name], bar.must)
    ]
