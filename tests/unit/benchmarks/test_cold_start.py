"""The cold start's medians."""

from benchmarks.cold_start.measure import Round, Start, summary

MOMENTS = {
    "begun": 10.0, "prepared": 11.0, "library": 60.0, "importing": 100.0, "imported": 130.0, "indexed": 132.0,
    "requested": 133.0, "answered": 400.0,
}  # fmt: skip


def start(later: float = 0.0, **more: float) -> Start:
    return Start({**{name: at + later for name, at in MOMENTS.items()}, **more})


def one_round(later: float) -> Round:
    spans = [("import numpy", "MainThread", 134.0, 184.0), ("secret from Key Vault", "vault_0", 200.0, 230.0)]
    warmed = start(warming=133.0, warmed=500.0, requested=501.0, answered=503.0)
    return Round(
        bare=9.0,
        packages=250.0,
        plain=start(later),
        warmed=warmed,
        later=start(requested=633.0, answered=700.0),
        observed=Start(MOMENTS, spans),
        slow_vault=start(later + 150),
    )


def test_medians_are_reported_with_the_worst() -> None:
    found = summary([one_round(0), one_round(2), one_round(10)])

    assert found["ratios"] == {"cold_indexed_ms": 134.0, "cold_first_score_ms": 402.0, "cold_slow_vault_ms": 552.0}
    assert found["worst"] == {"cold_indexed_ms": 142.0, "cold_first_score_ms": 410.0}
    assert [step["milliseconds"] for step in found["steps"]] == [12.0, 50.0, 40.0, 30.0, 2.0, 268.0]
    assert found["warmed"] == {"indexed_ms": 132.0, "warm_up_ms": 367.0, "first_request_ms": 2.0}
    assert found["packages_ms"] == 250.0
    assert found["later_first_request_ms"] == 67.0
    assert found["first_request"][0] == {"name": "import numpy", "thread": "event loop", "begin": 1.0, "end": 51.0}
