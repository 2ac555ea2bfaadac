"""How long requests wait, by how their node is chosen."""

import math

import numpy as np

from benchmarks.scale.balancing import Fleet, Policy, nodes, simulate
from benchmarks.scale.pages import Figures, Table, milliseconds, number, percent
from benchmarks.scale.queues import SERVICE, Floats, mean_wait_md1, poisson, waits
from benchmarks.scale.svg import Axis, Chart, Series

COUNT = 20
USES = (0.6, 0.8, 0.95)
CLIENTS = (1, 10, 200)
SLOW, FACTOR = 2, 1.5
POLICIES = (Policy.RANDOM, Policy.ROUND_ROBIN, Policy.TWO_CHOICES, Policy.LEAST_REQUEST, Policy.CENTRAL)


def figures() -> Figures:
    """All of it; about 30 seconds."""
    return Figures([_theory(), _equal(), _slow(), _first()], [_clients_chart()])


def _theory() -> Table:
    rows = []
    for use in USES:
        means = [
            waits(poisson(use / SERVICE, 1_000_000, np.random.default_rng(seed)), SERVICE).mean() for seed in range(10)
        ]
        found, expected = float(np.mean(means)), mean_wait_md1(use)
        rows.append([percent(use), milliseconds(expected), milliseconds(found), percent(found / expected - 1, 1)])
    return Table("theory", ["use", "mean wait by theory, ms", "simulated, ms", "difference"], rows)


def _cell(waited: Floats) -> str:
    """Mean, median and the two tails, in milliseconds."""
    return " / ".join(milliseconds(float(one)) for one in (waited.mean(), *np.percentile(waited, [50, 99, 99.9])))


def _equal() -> Table:
    rows = []
    for use in USES:
        for clients in CLIENTS:
            cells = [_cell(simulate(Fleet(use, clients, nodes(COUNT)), policy)) for policy in POLICIES]
            rows.append([percent(use), number(clients), *cells])
    return Table("balancing", ["use", "workers", *(policy.value for policy in POLICIES)], rows)


def _slow() -> Table:
    """Blind policies give a slow node what it cannot do: its queue grows without end, and no mean can be told."""
    services = nodes(COUNT, SLOW, FACTOR)
    rows = []
    for use in USES:
        for clients in CLIENTS[1:]:
            cells = []
            for policy in POLICIES:
                fleet = Fleet(use, clients, services)
                blind = policy in {Policy.RANDOM, Policy.ROUND_ROBIN}
                overrun = blind and fleet.rate / COUNT * max(services) >= 1
                cells.append("grows" if overrun else _cell(simulate(fleet, policy)))
            rows.append([percent(use), number(clients), *cells])
    return Table("slow-nodes", ["use", "workers", *(policy.value for policy in POLICIES)], rows)


def _first() -> Table:
    """Where each worker stays with one node, drawn at random: how many nodes have more than they can serve."""
    rows = []
    for clients in (20, 200, 2_000):
        cells = [number(clients)]
        load = np.bincount(np.random.default_rng(1).integers(COUNT, size=clients), minlength=COUNT) / clients * COUNT
        cells.append(number(float(load.max()), 2))
        cells += [number(float((load * use >= 1).sum())) for use in USES]
        rows.append(cells)
    head = ["workers", "busiest over the mean", *(f"overrun at {percent(use)}" for use in USES)]
    return Table("pick-first", head, rows)


def _clients_chart() -> Chart:
    use, counts = 0.8, (1, 2, 5, 10, 20, 50, 100, 200, 500)
    lines = []
    for policy in POLICIES:
        points = []
        for clients in counts:
            waited = simulate(Fleet(use, clients, nodes(COUNT), requests=100_000), policy)
            points.append((float(clients), float(np.percentile(waited, 99)) * 1e3))
        lines.append(Series(policy.value, [point for point in points if math.isfinite(point[1])]))
    title = f"99 of 100 requests wait less: {COUNT} nodes at {percent(use)} use, simulated"
    return Chart("balancing", title, Axis("workers", log=True), Axis("wait, ms"), lines)
