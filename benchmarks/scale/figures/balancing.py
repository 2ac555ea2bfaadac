"""How long requests wait, by how their node is chosen."""

from itertools import product

import numpy as np

from benchmarks.harness.markdown import milliseconds, number, percent, table
from benchmarks.harness.plots import Axis, LineChart
from benchmarks.scale.balancing import Fleet, Policy, nodes, simulate
from benchmarks.scale.pages import Figures
from benchmarks.scale.queues import SERVICE, Floats, mean_wait_md1, poisson, waits

COUNT = 20
USES = (0.6, 0.8, 0.95)
CLIENTS = (1, 10, 200)
SLOW, FACTOR = 2, 1.5


def figures() -> Figures:
    """All of it; about 30 seconds."""
    tables = {"theory": _theory(), "balancing": _equal(), "slow-nodes": _slow(), "pick-first": _first()}
    return Figures([_clients_chart()], simulated=tables)


def _theory() -> str:
    rows = []
    for use in USES:
        arrivals = (poisson(use / SERVICE, 1_000_000, np.random.default_rng(seed)) for seed in range(10))
        found, expected = float(np.mean([waits(one, SERVICE).mean() for one in arrivals])), mean_wait_md1(use)
        rows.append([percent(use), milliseconds(expected), milliseconds(found), percent(found / expected - 1, 1)])
    return table(["use", "mean wait by theory, ms", "simulated, ms", "difference"], rows)


def _cell(waited: Floats) -> str:
    """Mean, median and the two tails, in milliseconds."""
    return " / ".join(milliseconds(float(one)) for one in (waited.mean(), *np.percentile(waited, [50, 99, 99.9])))


def _equal() -> str:
    rows = []
    for use, clients in product(USES, CLIENTS):
        fleet = Fleet(use, clients, nodes(COUNT))
        rows.append([percent(use), number(clients), *(_cell(simulate(fleet, policy)) for policy in Policy)])
    return table(["use", "workers", *Policy], rows)


def _slow() -> str:
    """Blind policies overload a slow node: its queue grows without end, and no mean can be given."""
    services = nodes(COUNT, SLOW, FACTOR)
    rows = []
    for use, clients in product(USES, CLIENTS[1:]):
        fleet, cells = Fleet(use, clients, services), [percent(use), number(clients)]
        for policy in Policy:
            blind = policy in {Policy.RANDOM, Policy.ROUND_ROBIN}
            overloaded = blind and fleet.rate / COUNT * max(services) >= 1
            cells.append("grows" if overloaded else _cell(simulate(fleet, policy)))
        rows.append(cells)
    return table(["use", "workers", *Policy], rows)


def _first() -> str:
    """Where each worker stays with one node, drawn at random: how many nodes get more than they can serve."""
    rows = []
    for clients in (20, 200, 2_000):
        load = np.bincount(np.random.default_rng(1).integers(COUNT, size=clients), minlength=COUNT) / clients * COUNT
        overloaded = [number(int((load * use >= 1).sum())) for use in USES]
        rows.append([number(clients), number(float(load.max()), 2), *overloaded])
    return table(["workers", "busiest over the mean", *(f"overrun at {percent(use)}" for use in USES)], rows)


def _clients_chart() -> LineChart:
    use, counts = 0.8, (1, 2, 5, 10, 20, 50, 100, 200, 500)

    def p99(policy: Policy, clients: int) -> float:
        return float(np.percentile(simulate(Fleet(use, clients, nodes(COUNT), requests=100_000), policy), 99)) * 1e3

    lines = {policy.value: [(clients, p99(policy, clients)) for clients in counts] for policy in Policy}
    title = f"99 of 100 requests wait less: {COUNT} nodes at {percent(use)} use, simulated"
    return LineChart("balancing", title, Axis("workers", log=True), Axis("wait, ms"), lines)
