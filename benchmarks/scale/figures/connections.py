"""How many connections there are, how even the load is, and what happens when instances start or nodes fail."""

from collections.abc import Callable, Mapping
from itertools import product

import numpy as np

from benchmarks.harness.markdown import milliseconds, number, percent, table
from benchmarks.harness.plots import Axis, LineChart
from benchmarks.scale.balancing import Fleet, Policy, nodes, simulate
from benchmarks.scale.pages import Figures
from benchmarks.scale.queues import Floats, Ints
from benchmarks.scale.subsets import chosen_at_random, connections, deterministic, reconnections, shares

NODES = 200
CLIENTS = (1, 10, 100, 1_000)
SEED = 1


def figures() -> Figures:
    """All of it; about four seconds."""
    simulated = {"balance": _balance(), "starting": _starting(), "dying": _failing(), "subset-waits": _waits()}
    charts = [_balance_chart(), _waits_chart()]
    return Figures(charts, simulated=simulated, computed={"connections": _connections()})


def _random(clients: int, size: int) -> Ints:
    return chosen_at_random(clients, NODES, size, np.random.default_rng((SEED, clients, size)))


def _numbered(clients: int, size: int) -> Ints:
    return deterministic(np.arange(clients), NODES, size)


def _with_gaps(clients: int, size: int) -> Ints:
    """Numbered clients of which every second one is left, as after instances have come and gone."""
    left = np.random.default_rng((SEED, clients)).permutation(2 * clients)[:clients]
    return deterministic(left, NODES, size)


WAYS: Mapping[str, Callable[[int, int], Ints]] = {"numbered": _numbered, "with gaps": _with_gaps, "random": _random}
TWO_WAYS = {name: WAYS[name] for name in ("numbered", "random")}


def _name(size: int) -> str:
    return "all" if size == NODES else number(size)


def _connections() -> str:
    sizes = (NODES, 20, 10, 5)
    rows = []
    for clients in CLIENTS:
        cells = [number(clients)]
        for size in sizes:
            cells += [number(clients * size), number(clients * size / NODES, 1)]
        rows.append(cells)
    return table(["workers", *(text for size in sizes for text in (f"{_name(size)}: in all", "a node"))], rows)


def _balance() -> str:
    rows = []
    for clients, size in product(CLIENTS[1:], (2, 5, 10, 20, 50)):
        cells = [number(clients), number(size)]
        for way in WAYS.values():
            load = shares(way(clients, size), NODES) * NODES
            cells += [number(load.max(), 2), number(int((load == 0).sum()))]
        rows.append(cells)
    return table(["workers", "subset", *(text for name in WAYS for text in (f"{name}: busiest", "unused"))], rows)


def _starting() -> str:
    rows = []
    for size in (NODES, 50, 20, 10, 5):
        handshakes = 1_000 * size
        rates = [number(handshakes / NODES / seconds, 2) for seconds in (60, 300)]
        rows.append([_name(size), number(size), number(handshakes), *rates, *_restart(handshakes // NODES)])
    head = [
        *("subset", "handshakes a worker", "in all", "a node and second, 1,000 in 1 min", "in 5 min"),
        *("node back after 10 s: tries refused a second", "handshakes in its busiest 0.1 s", "all back after"),
    ]
    return table(head, rows)


def _restart(clients: int) -> tuple[str, str, str]:
    down = 10.0
    tries, last = reconnections(clients, down, np.random.default_rng(SEED))
    busiest = np.histogram(last, np.arange(down, down + 1, 0.1))[0].max()
    refused = ((tries < down) & (tries >= 1)).sum() / (down - 1)
    return number(float(refused), 0), number(int(busiest)), f"{number(float(last.max()) - down, 1)} s"


def _failing() -> str:
    rows = []
    alive = np.ones(NODES, dtype=bool)
    alive[0] = False
    for size in (NODES, 50, 20, 10, 5, 2):
        cells = [_name(size)]
        for way in TWO_WAYS.values():
            subsets = way(1_000, size)
            before, after = shares(subsets, NODES), shares(subsets, NODES, alive)
            more = (after[alive] / before[alive] - 1).max()
            cells += [number(int(connections(subsets, NODES)[0])), percent(float(more), 1)]
        rows.append(cells)
    head = ["subset", "numbered: lose a connection", "most more for a node", "random: lose one", "most more for a node"]
    return table(head, rows)


def _waited(use: float, subsets: Ints) -> Floats:
    fleet = Fleet(use, len(subsets), nodes(NODES), subsets, requests=400_000, seed=SEED)
    return simulate(fleet, Policy.ROUND_ROBIN)


def _waits() -> str:
    rows = []
    for use, size in product((0.6, 0.8), (5, 10, 20, 50, NODES)):
        cells = [percent(use), _name(size)]
        for way in TWO_WAYS.values():
            waited = _waited(use, way(1_000, size))
            cells += [milliseconds(float(waited.mean())), milliseconds(float(np.percentile(waited, 99)))]
        rows.append(cells)
    return table(["use", "subset", "numbered: mean wait, ms", "p99, ms", "random: mean wait, ms", "p99, ms"], rows)


def _balance_chart() -> LineChart:
    lines: dict[str, list[tuple[int, float]]] = {}
    for clients, (name, way) in product((100, 1_000), TWO_WAYS.items()):
        loads = {size: shares(way(clients, size), NODES) for size in (1, 2, 3, 5, 7, 10, 14, 20, 30, 50, 70, 100)}
        lines[f"{clients:,} workers, {name}"] = [(size, float(load.max() * NODES)) for size, load in loads.items()]
    x, y = Axis("nodes in a subset", log=True), Axis("its load over the mean", top=4.0)
    return LineChart("balance", f"The busiest of {NODES} nodes, simulated", x, y, lines)


def _waits_chart() -> LineChart:
    lines: dict[str, list[tuple[int, float]]] = {}
    for use, (name, way) in product((0.6, 0.8), TWO_WAYS.items()):
        waited = {size: _waited(use, way(1_000, size)) for size in (2, 5, 10, 20, 50, 100, NODES)}
        p99s = {size: float(np.percentile(one, 99)) * 1e3 for size, one in waited.items()}
        lines[f"{percent(use)} use, {name}"] = list(p99s.items())
    title = f"99 of 100 requests wait less: 1,000 workers in turn, {NODES} nodes, simulated"
    return LineChart("subset-waits", title, Axis("nodes in a subset", log=True), Axis("wait, ms", log=True), lines)
