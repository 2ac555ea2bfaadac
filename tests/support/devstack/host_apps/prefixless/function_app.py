# A trigger's argument must be declared, whether it is used or not.
# ruff: noqa: ARG001
"""An app without a route prefix, with a page of its own at the root, custom headers and a short time limit."""

import asyncio
import os
import time

import azure.functions as func
from azure.functions.warmup import WarmUpContext

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="{ignored:maxlength(0)?}", methods=["GET"])
async def page(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("own page", headers={"X-Frame-Options": "SAMEORIGIN"})


@app.route(route="v1/models/{model}:predict", methods=["POST"])
async def predict(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.route_params["model"])


@app.route(route="endless", methods=["GET"])
async def endless(req: func.HttpRequest) -> func.HttpResponse:
    await asyncio.sleep(600)
    return func.HttpResponse("too late")


@app.route(route="blocked", methods=["GET"])
async def blocked(req: func.HttpRequest) -> func.HttpResponse:
    """Block the event loop, as an app must not."""
    _announce("blocked")
    # Short sleeps: a signal right before a sleep does not interrupt it, and its handler runs after it.
    while True:
        time.sleep(0.01)  # noqa: ASYNC251 - the mistake under test


@app.route(route="stuck", methods=["GET"])
def stuck(req: func.HttpRequest) -> func.HttpResponse:
    """Occupy a thread."""
    _announce("stuck")
    time.sleep(600)
    return func.HttpResponse("too late")


def _announce(what: str) -> None:
    print(f"{what} in {os.getpid()}", flush=True)


@app.route(route="pid", methods=["GET"])
async def pid(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(str(os.getpid()))


@app.warm_up_trigger(arg_name="warmup")
async def warm_up(warmup: WarmUpContext) -> None:
    """Fail, which does not keep the host from starting."""
    raise RuntimeError("the warm-up failed on purpose")
