"""The comparison: tables, plots, and where the gateway is slower than another system."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.comparison.systems import BY_NAME, DIRECT, GATEWAY, NULL
from benchmarks.comparison.workloads import TITLES, Workload
from benchmarks.harness.markdown import number, table
from benchmarks.harness.plots import BLUE, GREY, ORANGE, figure, simplify

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Smaller differences are not reported; a processor that is used more than this counts as busy.
_SIMILAR, _FULL = 0.03, 0.85
# The concurrency that is drawn where it was measured.
_DRAWN = "16"

_WITHOUT_LATENCY = (
    "With an engine that takes no time, what remains is the cost of the server between client and service."
)
_WITH_LATENCY = """\
The simulated engine takes one image at a time, as the accelerator does. From 16 requests on, the service is the limit
for every server that is fast enough to keep it busy; the question is which servers are, and at what cost."""

type Rows = Mapping[str, Mapping[str, float]]


def report(data: Mapping[str, Any]) -> str:
    """The section for a service of one latency."""
    latency = data["latency_ms"]
    what = f"a service of {latency:g} ms an image" if latency else "a service that takes no time"
    parts = [
        f"## Over HTTP, compared with its peers: {what}",
        _WITH_LATENCY if latency else _WITHOUT_LATENCY,
        f"![Requests a second](performance/{_picture(data)})",
    ]
    for workload, by_concurrency in _workloads(data):
        parts.append(f"### {TITLES[workload][0].upper()}{TITLES[workload][1:]}")
        for concurrency, rows in by_concurrency.items():
            parts += ["One at a time:" if concurrency == "1" else f"{concurrency} at a time:", _table(rows)]
    return "\n\n".join([*parts, *_behind(data), *_limits(data)]) + "\n"


def _picture(data: Mapping[str, Any]) -> str:
    return f"comparison-{data['latency_ms']:g}ms.svg"


def _workloads(data: Mapping[str, Any]) -> Iterator[tuple[Workload, Mapping[str, Rows]]]:
    """The measured workloads, without the load client's own limit."""
    for workload, by_concurrency in data["tables"].items():
        if workload in set(Workload):
            yield Workload(workload), by_concurrency


def _cases(data: Mapping[str, Any]) -> Iterator[tuple[str, Rows]]:
    """Each workload with each concurrency, in words."""
    for workload, by_concurrency in _workloads(data):
        for concurrency, rows in by_concurrency.items():
            yield f"{TITLES[workload]}, {concurrency} at a time", rows


def _table(rows: Rows) -> str:
    """The gateway's row is bold."""
    lines = []
    for name, row in rows.items():
        server = number(row["server_cpu_ms"]) if BY_NAME[name].launch else ""
        cells = [BY_NAME[name].title, *(number(row[key]) for key in ("rps", "p50_ms", "p99_ms")), server]
        mark = "**" if name == GATEWAY else ""
        lines.append([f"{mark}{cell}{mark}" if cell else "" for cell in cells])
    return table(["", "requests/s", "p50, ms", "p99, ms", "server's processor, ms a request"], lines)


def _behind(data: Mapping[str, Any]) -> list[str]:
    """Where another server makes more requests, or answers sooner."""
    lines = [f"- {case}: {each}" for case, rows in _cases(data) for each in _ahead(rows)]
    if not lines:
        return ["No other server makes more requests a second than the gateway, or answers sooner."]
    return [f"**Where another server is faster than the gateway** (by more than {_SIMILAR:.0%}):", "\n".join(lines)]


def _ahead(rows: Rows) -> Iterator[str]:
    for name, row in rows.items():
        if name in (GATEWAY, DIRECT) or GATEWAY not in rows:
            continue
        own = rows[GATEWAY]
        more, sooner = row["rps"] / own["rps"] - 1, 1 - row["p50_ms"] / own["p50_ms"]
        differences = [f"{more:.0%} more requests a second"] if more > _SIMILAR else []
        differences += [f"{sooner:.0%} sooner"] if sooner > _SIMILAR else []
        if differences:
            yield f"{BY_NAME[name].title}: {', '.join(differences)}"


def _limits(data: Mapping[str, Any]) -> list[str]:
    """The load client's own limit, and where the load client and the services had no processor left."""
    rows = data["tables"].get(NULL)
    if not rows:
        return []
    rates = ", ".join(f"{row['rps']:,.0f} (with {concurrency} at a time)" for concurrency, row in rows.items())
    cost = max(row["client_cpu_ms"] for row in rows.values())
    limit = (
        f"The load client by itself, before a server that answers all requests alike, makes {rates} requests a"
        f" second, and takes at most {1000 * cost:.0f} µs of its own processor for each."
    )
    full = [case for case, rows in _cases(data) if GATEWAY in rows and _use_of_others(rows[GATEWAY]) > _FULL]
    if not full:
        return [limit]
    return [limit, f"There the load client and the service, not the gateway, were the limit: {'; '.join(full)}."]


def _use_of_others(row: Mapping[str, float]) -> float:
    """The share of a processor that the load client and the services used."""
    return row["rps"] * (row["client_cpu_ms"] + row["services_cpu_ms"]) / 1000


def plot(data: Mapping[str, Any], folder: Path) -> None:
    """Draw the requests a second, a panel for each workload."""
    file, tables = folder / _picture(data), list(_workloads(data))
    columns = min(2, len(tables))
    lines = -(-len(tables) // columns)
    with figure(file, 6.4 * columns, 2.9 * lines) as drawn:
        panels = list(drawn.subplots(lines, columns, squeeze=False).flat)
        for axes, (workload, by_concurrency) in zip(panels, tables, strict=False):
            concurrency = _DRAWN if _DRAWN in by_concurrency else max(by_concurrency, key=int)
            _draw(axes, f"{TITLES[workload]}, {concurrency} at a time", by_concurrency[concurrency])
        for axes in panels[len(tables) :]:
            axes.remove()


def _draw(axes: "Axes", title: str, rows: Rows) -> None:
    names = list(rows)[::-1]
    rates = [rows[name]["rps"] for name in names]
    colours = [BLUE if name == GATEWAY else GREY if name == DIRECT else ORANGE for name in names]
    bars = axes.barh([BY_NAME[name].title for name in names], rates, color=colours, height=0.7)
    axes.bar_label(bars, [number(rate) for rate in rates], padding=3)
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_xlim(0, max(rates) * 1.18)
    axes.set_xlabel("requests a second")
    simplify(axes, grid="x")
