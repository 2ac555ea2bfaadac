"""What is told of the gateway beside its peers: the tables, and honestly where it is behind."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.contestants import BY_NAME, DIRECT, GATEWAY, NULL
from benchmarks.works import TITLES, Work

# A difference of less than this is none; and a processor that is used more than this has no room.
_ALIKE, _FULL = 0.03, 0.85

_WITHOUT = "With an engine that takes no time, what is left is what stands between the client and the service."
_WITH_LATENCY = """\
The simulated engine takes one image at a time, as the accelerator does. From 16 requests on, the service is the limit
for everybody who is quick enough to keep it busy; the question is who is, and at what cost."""

type Rows = Mapping[str, Mapping[str, float]]


def section(data: Mapping[str, Any]) -> str:
    """The section for a service of one latency, as markdown."""
    latency = data["latency_ms"]
    lines = [_heading(latency), "", *_introduction(data), ""]
    for work, rows_by_concurrency in _works(data):
        lines += [f"### {TITLES[work][0].upper()}{TITLES[work][1:]}", ""]
        for concurrency, rows in rows_by_concurrency.items():
            lines += [f"{concurrency} at a time:" if concurrency != "1" else "One at a time:", "", *table(rows), ""]
    return "\n".join([*lines, *_behind(data), *_the_load_client(data), ""])


def table(rows: Rows) -> list[str]:
    """A markdown table of summaries, the gateway's row in bold."""
    lines = ["| | requests/s | p50, ms | p99, ms | server's processor, ms a request |", "|---|---:|---:|---:|---:|"]
    for name, row in rows.items():
        server = "" if BY_NAME[name].launch is None else number(row["server_cpu_ms"])
        cells = [BY_NAME[name].title, *(number(row[figure]) for figure in ("rps", "p50_ms", "p99_ms")), server]
        mark = "**" if name == GATEWAY else ""
        lines.append("| " + " | ".join(f"{mark}{cell}{mark}" if cell else "" for cell in cells) + " |")
    return lines


def number(value: float) -> str:
    """A figure to three digits or so."""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def _heading(latency: float) -> str:
    what = f"a service of {latency:g} ms an image" if latency else "a service that takes no time"
    return f"## Over HTTP, beside its peers: {what}"


def _introduction(data: Mapping[str, Any]) -> list[str]:
    return [_WITH_LATENCY if data["latency_ms"] else _WITHOUT, "", f"![Requests a second]({picture(data)})"]


def picture(data: Mapping[str, Any]) -> str:
    """The plot's file, seen from docs/."""
    return f"performance/side-by-side-{data['latency_ms']:g}ms.svg"


def _works(data: Mapping[str, Any]) -> Iterator[tuple[Work, Mapping[str, Rows]]]:
    """The works that were measured, without what is told of the load client."""
    for work, rows_by_concurrency in data["tables"].items():
        if work in set(Work):
            yield Work(work), rows_by_concurrency


def _behind(data: Mapping[str, Any]) -> list[str]:
    """Where another server does more, or answers sooner."""
    lines = []
    for work, rows_by_concurrency in _works(data):
        for concurrency, rows in rows_by_concurrency.items():
            lines += [f"- {TITLES[work]}, {concurrency} at a time: {each}" for each in _ahead(rows)]
    if not lines:
        return ["No server among them does more requests a second than the gateway, or answers sooner.", ""]
    return ["**Where the gateway is behind another server** (by more than 3 %):", "", *lines, ""]


def _ahead(rows: Rows) -> Iterator[str]:
    if GATEWAY not in rows:
        return
    own = rows[GATEWAY]
    for name, row in rows.items():
        if name in (GATEWAY, DIRECT):
            continue
        more, sooner = row["rps"] / own["rps"] - 1, 1 - row["p50_ms"] / own["p50_ms"]
        told = [f"{more:.0%} more requests a second"] if more > _ALIKE else []
        told += [f"{sooner:.0%} sooner"] if sooner > _ALIKE else []
        if told:
            yield f"{BY_NAME[name].title}: {', '.join(told)}"


def _the_load_client(data: Mapping[str, Any]) -> list[str]:
    """What the load client itself can do, as far as it was measured."""
    rows = data["tables"].get(NULL)
    if not rows:
        return []
    limits = ", ".join(f"{row['rps']:,.0f} (with {concurrency} at a time)" for concurrency, row in rows.items())
    cost = max(row["client_cpu_ms"] for row in rows.values())
    told = f"The load client by itself, before a server that only reads, makes {limits} requests a second,"
    return [
        f"{told} and takes at most {1000 * cost:.0f} µs of its own processor for each.",
        "",
        *_where_others_are_the_limit(data),
    ]


def _where_others_are_the_limit(data: Mapping[str, Any]) -> list[str]:
    """Where the load client and the services had no processor left, so that nobody could do more."""
    full = [
        f"{TITLES[work]}, {concurrency} at a time"
        for work, rows_by_concurrency in _works(data)
        for concurrency, rows in rows_by_concurrency.items()
        if GATEWAY in rows and _others_use(rows) > _FULL
    ]
    if not full:
        return []
    return [f"There the load client and the service behind were the limit, not the gateway: {'; '.join(full)}.", ""]


def _others_use(rows: Rows) -> float:
    """How much of a processor the load client and the services took, while the gateway was asked."""
    own = rows[GATEWAY]
    return own["rps"] * (own["client_cpu_ms"] + own["services_cpu_ms"]) / 1000
