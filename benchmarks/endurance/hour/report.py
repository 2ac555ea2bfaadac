"""The rows of a run, what they prove, and docs/endurance.md."""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.endurance.hour.disturbances import ALL
from benchmarks.endurance.hour.load import Window
from benchmarks.harness.description import paragraph
from benchmarks.harness.machine import Footprint
from benchmarks.harness.markdown import number, percent, table

# How much more resident memory than after the warm-up is still none.
GROWTH = 0.05
# And how many more files, sockets or threads: pools fill up by chance, of connections to Key Vault for as many threads
# as read at the same time, and of gRPC's threads. One that stayed after each round would be more.
SPARE = 2
_SHOWN = 3

HEAD = ("round", "requests", "lost", "p50, ms", "p99, ms", "longest, ms", "RSS, MB", "files", "sockets", "threads")

_TEXT = """\
# Endurance

An hour's worth of changes and failures behind the gateway, in ten minutes and under a steady load: is a request lost,
does the process that runs the app keep memory, files, sockets or threads?

{verdict}

Taken on {date} by `python -m benchmarks.endurance.hour`. The first round is the warm-up: what happens for the first
time imports libraries and makes connections, which stay. The process's figures are those after a round, while the load
goes on; *files* are all file descriptors, those of sockets among them. The machine need not be idle, so the times only
show that no request waits longer than it may.

{rows}

The longest requests are those that wait for a service that restarts, or, for a second at most, for credentials: with
times as short as here, a slow vault's answers come when the last ones are overdue, as with the default times they do
not.

What happened in each round, one after the other, with the seconds that it took to its end:

{happened}

## What was done

The local stack runs: Key Vault, the managed identity, the control plane with its inference service, whose simulated
engine takes no time, and {way}.
{clients} clients send {rate:g} requests a second in all, each at its time, whether or not the earlier ones are
answered. By turns they are a photograph for `/api/score` as a file, as a tensor, and to a service with two instances;
the same photograph by TensorFlow Serving's REST API; and by the Open Inference Protocol.

A request is **lost** where its answer is not the scores that the same request got before the first disturbance,
whatever the cause: an error, a refusal, a broken connection, other scores, no answer.

{about}

With the default times, a rotation of the certificate takes about six minutes, and so does one of the keys
([rotation.md](rotation.md#times-and-limits)): an hour has room for ten of them, and ten minutes here have ten of each.
The times are shortened for that: credentials are read every {refresh} seconds instead of every 300, the timer runs
every two seconds, and the old pin is dropped one second after the verification.

What is not promised is not here: a service with one instance that is away for longer than two seconds, and a worker
that is killed, with which its requests end ([architecture.md](architecture.md#what-happens-to-a-failed-call)).

## To repeat it

```console
$ .venv/bin/python -m benchmarks.endurance.hour --report docs/endurance.md
```

The exit code is 1 where a request is lost, where after a round the process has over {growth} more memory than after the
warm-up, or where at the end it has over {spare} more files, sockets or threads: pools of connections to Key Vault and
of gRPC's threads fill up by chance, but one that stayed after each round would be nine. `--rounds`, `--seconds` and
`--only` make the run longer, shorter, or of some disturbances alone.
`python -m benchmarks.endurance` is about errors: thousands of requests for every problem that an answer can report.

## Where it was measured

{machine}
"""


@dataclass(frozen=True)
class Row:
    """One round: what happened, with the seconds that it took, the requests, and the process after it."""

    number: int
    happened: Mapping[str, float]
    window: Window
    footprint: Footprint

    @property
    def cells(self) -> Sequence[str]:
        """As in ``HEAD``."""
        took, found = sorted(1e3 * seconds for seconds in self.window.seconds), self.footprint
        times = [took[int(share * (len(took) - 1))] for share in (0.5, 0.99, 1)] if took else []
        return [
            "warm-up" if self.number == 1 else str(self.number),
            number(self.window.requests),
            number(len(self.window.lost)),
            *(number(each, 1 if each < 100 else 0) for each in times),
            f"{found.resident_mb:.1f}",
            *(str(each) for each in (found.files, found.sockets, found.threads)),
        ]


@dataclass(frozen=True)
class Conditions:
    """What the page says of a run beside its rows."""

    way: str
    clients: int
    rate: float
    refresh: str
    machine: Mapping[str, str]


def failures(rows: Sequence[Row]) -> list[str]:
    """What is not as it should be; nothing where the run proves what it is for."""
    warm, later = rows[0].footprint, [row.footprint for row in rows[1:]]
    found = []
    lost = [problem for row in rows for problem in row.window.lost]
    if lost:
        found.append(f"{len(lost)} requests were lost, such as: {'; '.join(lost[:_SHOWN])}")
    most = max(each.resident_mb for each in later)
    if most > warm.resident_mb * (1 + GROWTH):
        found.append(f"resident memory grew from {warm.resident_mb:.1f} to {most:.1f} MB")
    last = later[-1]
    for name in ("files", "sockets", "threads"):
        before, after = getattr(warm, name), getattr(last, name)
        if after > before + SPARE:
            found.append(f"there are {after} {name} instead of {before}")
    return found


def verdict(rows: Sequence[Row]) -> str:
    """In one sentence, or a few."""
    wrong = failures(rows)
    if wrong:
        return f"**Not as it should be:** {'. '.join(wrong)}."
    warm, last = rows[0].footprint, rows[-1].footprint
    requests = sum(row.window.requests for row in rows)
    most = max(row.footprint.resident_mb for row in rows[1:]) / warm.resident_mb - 1
    counts = Counter[str]()
    for row in rows:
        counts.update(row.happened.keys())
    happened = ", ".join(f"{name} {count} times" for name, count in counts.items())
    return (
        f"**Of {requests:,} requests none was lost** ({happened}). Compared with the warm-up, the process's resident"
        f" memory was {100 * most:+.1f} % at most, and at the end it has {last.files - warm.files:+d} files,"
        f" {last.sockets - warm.sockets:+d} sockets, {last.threads - warm.threads:+d} threads."
    )


def page(rows: Sequence[Row], conditions: Conditions) -> str:
    """The Markdown page."""
    names = list(rows[0].happened)
    happened = [[row.cells[0], *(number(row.happened.get(name), 1) for name in names)] for row in rows]
    return _TEXT.format(
        verdict=verdict(rows),
        date=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        rows=table(HEAD, (row.cells for row in rows)),
        happened=table(["round", *(f"`{name}`" for name in names)], happened),
        way=conditions.way,
        clients=conditions.clients,
        rate=conditions.rate,
        refresh=conditions.refresh,
        growth=percent(GROWTH),
        spare=SPARE,
        about=table(["disturbance", "what happens"], ([f"`{name}`", ALL[name]] for name in names), left=2),
        machine=paragraph(conditions.machine),
    )
