"""How many connections there are, how even the load is, and what happens when instances start or nodes die."""

import numpy as np

from benchmarks.scale.balancing import Fleet, Policy, nodes, simulate
from benchmarks.scale.pages import Figures, Table, milliseconds, number, percent
from benchmarks.scale.queues import Ints
from benchmarks.scale.subsets import chosen_at_random, connections, deterministic, reconnections, shares
from benchmarks.scale.svg import Axis, Chart, Series

NODES = 200
CLIENTS = (1, 10, 100, 1_000)
SIZES = (2, 5, 10, 20, 50)
SEED = 1


def figures() -> Figures:
    """All of it; about four seconds."""
    tables = [_connections(), _balance(), _starting(), _dying(), _waits()]
    return Figures(tables, [_balance_chart(), _waits_chart()])


def _random(clients: int, size: int) -> Ints:
    return chosen_at_random(clients, NODES, size, np.random.default_rng((SEED, clients, size)))


def _numbered(clients: int, size: int) -> Ints:
    return deterministic(np.arange(clients), NODES, size)


def _with_gaps(clients: int, size: int) -> Ints:
    """Clients that were numbered once, of which half are left: as instances come and go."""
    left = np.random.default_rng((SEED, clients)).permutation(2 * clients)[:clients]
    return deterministic(left, NODES, size)


def _connections() -> Table:
    rows = []
    for clients in CLIENTS:
        cells = [number(clients)]
        for size in (NODES, 20, 10, 5):
            cells += [number(clients * size), number(clients * size / NODES, 1)]
        rows.append(cells)
    head = ["workers", "all: in all", "a node", "20: in all", "a node", "10: in all", "a node", "5: in all", "a node"]
    return Table("connections", head, rows)


def _balance() -> Table:
    rows = []
    for clients in CLIENTS[1:]:
        for size in SIZES:
            cells = [number(clients), number(size)]
            for way in (_numbered, _with_gaps, _random):
                load = shares(way(clients, size), NODES) * NODES
                cells += [number(load.max(), 2), number(float((load == 0).sum()))]
            rows.append(cells)
    head = [
        "workers",
        "subset",
        "numbered: busiest",
        "unused",
        "with gaps: busiest",
        "unused",
        "random: busiest",
        "unused",
    ]
    return Table("balance", head, rows)


def _starting() -> Table:
    rows = []
    for size in (NODES, 50, 20, 10, 5):
        handshakes = 1_000 * size
        rows.append(
            [
                "all" if size == NODES else number(size),
                number(size),
                number(handshakes),
                number(handshakes / NODES / 60, 2),
                number(handshakes / NODES / 300, 2),
                *_restart(handshakes // NODES),
            ]
        )
    head = [
        "subset",
        "handshakes a worker",
        "in all",
        "a node and second, 1,000 in 1 min",
        "in 5 min",
        "node back after 10 s: tries refused a second",
        "handshakes in its busiest 0.1 s",
        "all back after",
    ]
    return Table("starting", head, rows)


def _restart(clients: int) -> tuple[str, str, str]:
    down = 10.0
    tries, last = reconnections(clients, down, np.random.default_rng(SEED))
    busiest = np.histogram(last, np.arange(down, down + 1, 0.1))[0].max()
    refused = ((tries < down) & (tries >= 1)).sum() / (down - 1)
    return number(float(refused)), number(float(busiest)), f"{number(float(last.max()) - down, 1)} s"


def _dying() -> Table:
    rows = []
    alive = np.ones(NODES, dtype=bool)
    alive[0] = False
    for size in (NODES, 50, 20, 10, 5, 2):
        cells = ["all" if size == NODES else number(size)]
        for way in (_numbered, _random):
            subsets = way(1_000, size)
            before, after = shares(subsets, NODES), shares(subsets, NODES, alive)
            more = (after[alive] / before[alive] - 1).max()
            cells += [number(float(connections(subsets, NODES)[0])), percent(float(more), 1)]
        rows.append(cells)
    head = ["subset", "numbered: lose a connection", "most more for a node", "random: lose one", "most more for a node"]
    return Table("dying", head, rows)


def _fleet(use: float, subsets: Ints, seed: int = SEED) -> Fleet:
    return Fleet(use, len(subsets), nodes(NODES), subsets, requests=400_000, seed=seed)


def _waits() -> Table:
    rows = []
    for use in (0.6, 0.8):
        for size in (5, 10, 20, 50, NODES):
            cells = [percent(use), "all" if size == NODES else number(size)]
            for way in (_numbered, _random):
                waited = simulate(_fleet(use, way(1_000, size)), Policy.ROUND_ROBIN)
                cells += [milliseconds(float(waited.mean())), milliseconds(float(np.percentile(waited, 99)))]
            rows.append(cells)
    head = ["use", "subset", "numbered: mean wait, ms", "p99, ms", "random: mean wait, ms", "p99, ms"]
    return Table("subset-waits", head, rows)


def _balance_chart() -> Chart:
    sizes = (1, 2, 3, 5, 7, 10, 14, 20, 30, 50, 70, 100)
    lines = []
    for clients in (100, 1_000):
        for name, way in (("numbered", _numbered), ("random", _random)):
            points = [(float(size), float(shares(way(clients, size), NODES).max() * NODES)) for size in sizes]
            lines.append(Series(f"{clients:,} workers, {name}", points))
    title = f"The busiest of {NODES} nodes, simulated"
    return Chart("balance", title, Axis("nodes in a subset", log=True), Axis("its load over the mean", top=4.0), lines)


def _waits_chart() -> Chart:
    lines = []
    for use in (0.6, 0.8):
        for name, way in (("numbered", _numbered), ("random", _random)):
            points = []
            for size in (2, 5, 10, 20, 50, 100, NODES):
                waited = simulate(_fleet(use, way(1_000, size)), Policy.ROUND_ROBIN)
                points.append((float(size), float(np.percentile(waited, 99)) * 1e3))
            lines.append(Series(f"{percent(use)} use, {name}", points))
    title = f"99 of 100 requests wait less: 1,000 workers in turn, {NODES} nodes, simulated"
    return Chart("subset-waits", title, Axis("nodes in a subset", log=True), Axis("wait, ms", log=True), lines)
