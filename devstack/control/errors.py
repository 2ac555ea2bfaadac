"""The errors of the control plane."""

from http import HTTPStatus

from devstack.rest.errors import RestError


class OperationFailed(Exception):
    """An accepted operation fails; the service stays unchanged. The message is for the caller."""


class InvalidPackage(RestError, status=HTTPStatus.BAD_REQUEST, code="InvalidModelPackage"):
    """The model to be registered is missing or invalid."""


class NameInUse(RestError, status=HTTPStatus.CONFLICT, code="NameInUse"):
    """Another service has the name."""


class ModelInUse(RestError, status=HTTPStatus.CONFLICT, code="ModelInUse"):
    """A model that cannot be deleted: it is in use, or the built-in one."""


class ResponseLost(RestError, status=HTTPStatus.GATEWAY_TIMEOUT, code="GatewayTimeout"):
    """The response of a proxy that stopped waiting; the request may have been executed."""

    def __init__(self) -> None:
        super().__init__("The control plane did not answer in time.")
