"""The header fields of a request, by their names in lower case."""

from collections.abc import Mapping

import azure.functions as func


def fields(request: func.HttpRequest) -> Mapping[str, str]:
    """The header fields; look them up by their names in lower case.

    The package's mapping takes a microsecond or two for each that is missing, which most are: it raises KeyError for
    its caller to catch. So this is the dict within it; the mapping itself, should a version of the package have none.
    """
    headers: Mapping[str, str] = request.headers
    found: Mapping[str, str] = getattr(headers, "__http_headers__", headers)
    return found
