"""The endurance run has a request for every problem."""

from benchmarks.endurance.requests import PROBLEMS
from shared.errors import problem_types

# Problems of Key Vault, the identity or the settings as a whole, of rotation, of too many requests, and of the
# protocol endpoints, to which the endurance run sends nothing; and some of connections.
ELSEWHERE = {
    *("control-plane-refused", "control-plane-unreachable", "identity-unavailable", "internal-error", "misconfigured"),
    *("foreign-origin", "gateway-busy", "no-golden-photographs", "not-rotated", "overloaded", "rotation-busy"),
    *("vault-forbidden", "vault-rejected", "vault-throttled", "vault-unreachable"),
    *("invalid-key", "proxy-refused", "service-name-unresolved", "service-without-http2"),
    *("unsupported-content-encoding", "body-too-large", "invalid-tensor", "unknown-version", "method-not-offered"),
    *("metrics-off", "metrics-key-refused"),
}


def test_every_problem_has_a_request() -> None:
    assert {request.slug for request in PROBLEMS} == {kind.slug for kind in problem_types()} - ELSEWHERE
