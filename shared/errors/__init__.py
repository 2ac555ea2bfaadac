"""Every error of the deployed code: one tree, one class a problem type (RFC 9457).

A class holds what is always true of its kind: the stable ``slug``, the HTTP ``status``, the ``title``, what it means
(``meaning``, the text of the API's documentation) and the ``remedy``. An instance adds ``detail``, the cause this time.
Details never hold a secret, an address or a stack trace: they are sent to clients and logged. The triggers turn an
instance into a problem document; the routes of the inference protocols, into their own form.

A subclass without a slug of its own is a distinction for callers inside the gateway; clients see its parent's type.
"""

from shared.errors import configuration, request, rotation, service, vault
from shared.errors.base import *
from shared.errors.configuration import *
from shared.errors.request import *
from shared.errors.rotation import *
from shared.errors.service import *
from shared.errors.vault import *


def problem_types() -> list[type[GatewayError]]:
    """The classes with a slug of their own, in the order of the modules and of the classes in each."""
    return [
        kind
        for module in (request, configuration, vault, rotation, service)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, GatewayError) and "slug" in vars(kind)
    ]
