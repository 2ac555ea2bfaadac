"""Which web pages may send a request that changes something."""

import os

import azure.functions as func

from shared.errors import ForeignOrigin
from shared.origins import is_loopback, is_own

# The app's own name: in Azure that of the function app; the Core Tools set it to localhost with the port.
_OWN_HOST = "WEBSITE_HOSTNAME"


def check_origin(request: func.HttpRequest) -> None:
    """Refuse what a web page of another origin sent, and, on a developer's machine, what came by a foreign name.

    There, hosts require no key; in Azure, a page would need one, and its address may be a domain of the user's.

    Raises:
        ForeignOrigin: the request is refused.
    """
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if origin is not None and not is_own(origin, host):
        raise ForeignOrigin("The request comes from a web page of another origin.")
    if not is_loopback(os.environ.get(_OWN_HOST, "")):
        return
    if not is_loopback(host):
        raise ForeignOrigin("The request's Host is not a name of loopback.")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.get_body() and media_type != "application/json":
        raise ForeignOrigin("The request's body is not declared as JSON, as web pages of any origin can send it.")
