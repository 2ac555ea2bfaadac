"""Which of the nodes a client connects to.

A client is a worker process of an instance, with one gRPC channel for each service. Subsets are matrices: a row for
each client, with the numbers of its nodes.
"""

import numpy as np

from benchmarks.scale.queues import Bools, Floats, Ints


def deterministic(clients: Ints, nodes: int, size: int, seed: int = 1) -> Ints:
    """Google's deterministic subsetting, for clients that are numbered (SRE book, chapter 20).

    Clients are taken in rounds of ``nodes // size``; each round shuffles the nodes and cuts them into subsets, one for
    each client. So in a complete round each node gets one client; nodes that are left over by the division get none.
    """
    count = nodes // size
    rows = np.empty((len(clients), size), dtype=np.int64)
    shuffled: dict[int, Ints] = {}
    for row, client in enumerate(clients.tolist()):
        turn, place = divmod(client, count)
        if turn not in shuffled:
            shuffled[turn] = np.random.default_rng((seed, turn)).permutation(nodes)
        rows[row] = shuffled[turn][place * size : (place + 1) * size]
    return rows


def chosen_at_random(clients: int, nodes: int, size: int, random: np.random.Generator) -> Ints:
    """Subsets chosen by each client by itself, for clients that are not numbered; gRPC's A68 has the same effect."""
    return np.argsort(random.random((clients, nodes)), axis=1)[:, :size]


def connections(subsets: Ints, nodes: int) -> Ints:
    """How many clients each node has."""
    return np.bincount(subsets.ravel(), minlength=nodes)


def shares(subsets: Ints, nodes: int, alive: Bools | None = None) -> Floats:
    """The share of all requests that each node gets where clients are equally busy and take their nodes in turn.

    With ``alive``, clients use only those nodes.
    """
    usable = np.ones(subsets.shape) if alive is None else alive[subsets].astype(float)
    each = usable / np.maximum(usable.sum(axis=1, keepdims=True), 1)
    return np.bincount(subsets.ravel(), weights=each.ravel(), minlength=nodes) / len(subsets)


def reconnections(count: int, down: float, random: np.random.Generator) -> tuple[Floats, Floats]:
    """When ``count`` clients try to connect to a node that refuses them for ``down`` seconds: all tries, and the last.

    The gateway's channels wait 0.1 s after the first failure, 1.6 times as long after each further one, 0.5 s at most,
    plus or minus a fifth (gRPC's connection backoff, with the gateway's options).
    """
    at, pause, tries = np.zeros(count), 0.1, [np.zeros(count)]
    waiting = np.ones(count, dtype=bool)
    while waiting.any():
        at = np.where(waiting, at + pause * random.uniform(0.8, 1.2, count), at)
        tries.append(at[waiting])
        waiting = at < down
        pause = min(pause * 1.6, 0.5)
    return np.concatenate(tries), at
