"""gRPC's own health checking (https://github.com/grpc/grpc/blob/master/doc/health-checking.md)."""

from protos.health_pb2 import HealthCheckResponse
from shared.errors import ServiceAnswerInvalid
from shared.upstream.codecs.bounds import Bounds, parse
from shared.upstream.codecs.interface import Rpc

HEALTH = "/grpc.health.v1.Health/Check"
# Of the whole server.
CHECK = Rpc(HEALTH, b"")

_BOUNDS = Bounds(size=1024, fields=10)


def health(response: bytes) -> str:
    """The status in a HealthCheckResponse, in lower case.

    Raises:
        ServiceAnswerInvalid: the response is not one, or its status has no meaning.
    """
    status = parse(HealthCheckResponse, response, _BOUNDS).status
    if status not in HealthCheckResponse.ServingStatus.values():
        raise ServiceAnswerInvalid(f"The service reports its health as number {status}, which has no meaning.")
    return HealthCheckResponse.ServingStatus.Name(status).lower()
