# A trigger names its argument, read or not.
# ruff: noqa: ARG001
"""An app that takes a route parameter as an argument, which the Python worker does not do."""

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="item/{identity}", methods=["GET"])
async def item(req: func.HttpRequest, identity: str) -> func.HttpResponse:
    """Expect what never comes."""
    return func.HttpResponse(identity)
