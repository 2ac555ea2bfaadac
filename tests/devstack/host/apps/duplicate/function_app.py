# A trigger names its argument, read or not.
# ruff: noqa: ARG001
"""An app in which two functions have one name."""

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.function_name("twin")
@app.route(route="one", methods=["GET"])
async def one(req: func.HttpRequest) -> func.HttpResponse:
    """Be the first twin."""
    return func.HttpResponse("one")


@app.function_name("twin")
@app.route(route="two", methods=["GET"])
async def two(req: func.HttpRequest) -> func.HttpResponse:
    """Be the second twin."""
    return func.HttpResponse("two")
