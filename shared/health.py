"""The health of a service, and that of a split, as the routes report it and as a split's shares follow it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from shared.errors import GatewayError

if TYPE_CHECKING:
    from shared.scoring.golden.watch import GoldenStatus
    from shared.traffic.split import Share, Split


class ServiceHealth(NamedTuple):
    """The health of one service at the moment.

    ``reported`` is the status that the service reports of itself; ``credentials_age`` is in seconds, None where there
    are none; ``vault_problem`` is why the credentials are not being renewed; ``golden`` is None where the service has
    no golden photographs.
    """

    reported: str
    channel: str
    credentials_age: float | None
    vault_problem: GatewayError | None
    problem: GatewayError | None
    golden: "GoldenStatus | None" = None

    @property
    def ready(self) -> bool:
        """Whether it can be scored with: it reports so, or reports no status but responds.

        With GOLDEN_ENFORCE its golden photographs must match, too.
        """
        blocked = self.golden is not None and self.golden.blocks
        return self.problem is None and self.reported in {"serving", "unknown"} and not blocked


class SplitHealth(NamedTuple):
    """The health of a split: its members' shares at the moment.

    It is ready where one of them that gets requests is; ``problem`` is that of one otherwise.
    """

    ready: bool
    shares: "Mapping[str, Share]"
    problem: GatewayError | None


def split_health(split: "Split", states: Mapping[str, ServiceHealth]) -> SplitHealth:
    """A split's health, of its members' at the moment."""
    shares = split.report()
    used = [states[name] for name, share in shares.items() if share.weight]
    ready = any(state.ready for state in used)
    problem = None if ready else next((state.problem for state in used if state.problem is not None), None)
    return SplitHealth(ready, shares, problem)
