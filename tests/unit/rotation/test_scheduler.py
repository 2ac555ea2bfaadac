"""How the timer treats services whose runs are blocked."""

from itertools import pairwise

from shared.rotation.scheduler import Block, blocked


def test_the_timer_leaves_a_service_alone_for_longer_each_time_that_its_run_is_blocked() -> None:
    block: Block | None = None
    now, runs = 0.0, []
    for minute in range(60):  # a schedule of a run a minute
        now = 60.0 * minute
        if block is None or now >= block.until:
            block = blocked(block, "vault-forbidden", now)
            runs.append(minute)

    assert [later - earlier for earlier, later in pairwise(runs)][:8] == [1, 1, 1, 1, 2, 3, 5, 5]
    assert block is not None
    assert block.runs == len(runs)


def test_another_problem_goes_on_with_the_same_pauses() -> None:
    first = blocked(None, "vault-forbidden", 100.0)

    assert first == Block("vault-forbidden", 1, 105.0)
    assert blocked(first, "vault-unreachable", 200.0) == Block("vault-unreachable", 2, 210.0)
