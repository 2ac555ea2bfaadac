"""From which size Key Vault answers 429, and the consequences."""

import math
from collections.abc import Mapping

import numpy as np

from benchmarks.harness.markdown import number, percent, table
from benchmarks.harness.plots import Axis, LineChart
from benchmarks.scale import vault
from benchmarks.scale.pages import Figures
from benchmarks.scale.queues import Floats

REFRESHES = (60.0, 120.0, 300.0, 600.0, 1_800.0)
COLD = (1_000, 2_000, 5_000, 8_000, 10_000, 20_000)
AWAY = (100, 1_000, 1_300, 2_000, 8_000, 20_000)
START = 60.0


def figures() -> Figures:
    """All of it; about 20 seconds."""
    cold = {count: vault.simulate([_starting(count)], 240.0) for count in COLD}
    tables = {"vault-steady": _steady(), "vault-cold": _cold(cold), "vault-in-vain": _in_vain(), "vault-away": _away()}
    return Figures([_cold_chart(cold)], simulated=tables, computed={"vault-sizes": _sizes()})


def _spread(count: int, seconds: float) -> Floats:
    return np.random.default_rng((1, count)).random(count) * seconds


def _starting(count: int) -> vault.Group:
    return vault.Group(vault.Kind.COLD, _spread(count, START))


def _percentile(values: Floats, percent_: float) -> str:
    value = float(np.percentile(values, percent_, method="inverted_cdf"))
    return f"{value:,.0f} s" if math.isfinite(value) else "never"


def _steady() -> str:
    """Caches that began at any time within the first refresh; an hour."""
    rows = []
    seconds, refresh = 3_600.0, 300.0
    for count in (1_000, 9_000, 18_000, 27_000, 36_000):
        found = vault.simulate([vault.Group(vault.Kind.RENEWING, _spread(count, refresh))], seconds, refresh=refresh)
        requests, refused = found.per_window(seconds)
        late = np.arange(len(requests)) * vault.WINDOW >= 1_800
        use, refused_share = count / vault.most_caches(refresh), len(found.refused) / len(found.requests)
        refused_late = float(refused[late].sum() / max(requests[late].sum(), 1))
        shares = [percent(refused_share, 1), percent(refused_late, 1)]
        rows.append([number(count), percent(use), number(float(requests.max()), 0), *shares])
    head = ["caches", "of what the vault can do", "busiest 10 s", "refused in an hour", "in the second half hour"]
    return table(head, rows)


def _cold(cold: Mapping[int, vault.Outcome]) -> str:
    rows = []
    for count, found in cold.items():
        ready = found.ready_after[0]
        patient = vault.simulate([_starting(count)], 300.0, cold=vault.backoff).ready_after[0]
        busiest, refused = found.per_window(240.0)[0].max(), len(found.refused) / len(found.requests)
        times = [*(_percentile(ready, at) for at in (50, 99, 100)), _percentile(patient, 100)]
        rows.append([number(count), number(float(busiest), 0), percent(refused), *times])
    head = ["caches that start in a minute", "busiest 10 s", "refused"]
    return table([*head, "ready after: half", "99 of 100", "all", "if pauses doubled: all"], rows)


# The pauses between reads that requests force.
WAYS: Mapping[str, vault.Pause] = {"every second": vault.every_second, "the gateway's": vault.less_often}


def _in_vain() -> str:
    """While no worker can trust a service, 100 workers start that need another one."""
    rows = []
    for count in (100, 133, 200, 1_000, 2_000, 5_000):
        others = vault.Group(vault.Kind.COLD, 30.0 + _spread(100, START))
        cells = [number(count)]
        for pause in WAYS.values():
            reading = vault.Group(vault.Kind.UNCHANGED_READS, _spread(count, 1.0))
            found = vault.simulate([others, reading], 180.0, in_vain=pause)
            # The mean after the first rush.
            requests, _ = found.per_window(180.0)
            cells += [number(float(requests[6:].mean()), 0), _percentile(found.ready_after[0], 99)]
        rows.append(cells)
    return table(["workers", *(text for way in WAYS for text in (f"{way}: in 10 s", "others ready"))], rows)


def _sizes() -> str:
    rows = []
    for refresh in REFRESHES:
        most = vault.most_caches(refresh)
        rows.append([f"{refresh:g} s", number(most, 0), number(most / 2, 0), f"{refresh + 16:g} s"])
    head = ["`CREDENTIALS_REFRESH_SECONDS`", "caches at the limit", "at half of it", "until all have a new pin"]
    return table(head, rows)


def _away() -> str:
    """Caches that started while the vault was away, after its return."""
    rows = []
    for count in AWAY:
        found = vault.simulate([vault.Group(vault.Kind.WAITING, _spread(count, START))], 360.0, away=START)
        sent, refused = found.per_window(360.0)
        [ready] = found.ready_after
        # From the vault's return, not from the cache's start.
        after = _spread(count, START) + ready - START
        shares = [_percentile(after, share) for share in (50, 99, 100)]
        rows.append([number(count), number(sent.max()), percent(refused.sum() / sent.sum()), *shares])
    return table(["caches", "busiest 10 s", "refused", "ready after: half", "99 of 100", "all"], rows)


def _cold_chart(cold: Mapping[int, vault.Outcome]) -> LineChart:
    lines, times = {}, np.arange(0.0, 181.0, 2.0)
    for count, found in cold.items():
        if count >= 5_000:
            began = np.sort(_starting(count).starts + found.ready_after[0])
            ready = np.searchsorted(began, times, side="right") / count
            lines[f"{count:,} caches"] = list(zip(times.tolist(), ready.tolist(), strict=True))
    title = f"Cold starts within a minute, {vault.LIMIT:,} answers in {vault.WINDOW:g} s, simulated"
    return LineChart("vault-cold", title, Axis("seconds"), Axis("share that has its credentials"), lines)
