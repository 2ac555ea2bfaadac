# A trigger's argument must be declared, whether it is used or not; and writing a small file does not block long.
# ruff: noqa: ARG001, ASYNC240
"""An app with one function for each feature of HTTP triggers, and one for each other trigger."""

import asyncio
import json
import logging
import os
import threading
from pathlib import Path

import azure.functions as func
from azure.functions.warmup import WarmUpContext

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
loop_at_import = asyncio.get_running_loop()


def _json(value: object) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(value), mimetype="application/json")


@app.route(route="echo/{number:int?}")
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    return _json(
        {
            "method": req.method,
            "url": req.url,
            "headers": dict(req.headers),
            "query": dict(req.params),
            "params": dict(req.route_params),
            "body": req.get_body().decode("latin-1"),
            "same_loop": asyncio.get_running_loop() is loop_at_import,
        }
    )


@app.route(route="length", methods=["POST", "PUT"])
async def length(req: func.HttpRequest) -> func.HttpResponse:
    """Answer with the number of bytes in the body."""
    return func.HttpResponse(str(len(req.get_body())))


@app.route(route="models/{model}/versions/{version:int}:predict", methods=["POST"])
async def predict(req: func.HttpRequest) -> func.HttpResponse:
    return _json(dict(req.route_params))


@app.route(route="fail", methods=["GET"])
async def fail(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("it broke on purpose")


@app.route(route="rich", methods=["GET"])
async def rich(req: func.HttpRequest) -> func.HttpResponse:
    """Set everything that a response can have."""
    response = func.HttpResponse(b"\x00\xff", status_code=418, mimetype="image/x-own")
    response.headers.add("X-Own", "yes")
    response.headers.add("Content-Length", "99")
    response.headers.add("Set-Cookie", "a=1+2; Path=/; HttpOnly; SameSite=Lax")
    response.headers.add("Set-Cookie", "b=2; Max-Age=60; Secure")
    return response


@app.route(route="nothing", methods=["GET", "HEAD"])
async def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=204)


@app.route(route="text", methods=["GET"])
async def text(req: func.HttpRequest) -> str:
    """Return a str, which the host parses as JSON."""
    return str(req.params["value"])


@app.route(route="none", methods=["GET"])
async def none(req: func.HttpRequest) -> func.HttpResponse:
    """Return nothing, which is an error."""
    return None  # type: ignore[return-value] # the mistake under test


@app.route(route="bad_header", methods=["GET"])
async def bad_header(req: func.HttpRequest) -> func.HttpResponse:
    """Set a header that HTTP cannot carry."""
    return func.HttpResponse("x", headers={"X-Name": "\N{SNOWMAN}"})


@app.route(route="trace", methods=["GET"])
async def trace(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    return _json(
        {
            "parent": context.trace_context.trace_parent,
            "state": context.trace_context.trace_state,
            "id": context.invocation_id,
            "function": context.function_name,
        }
    )


@app.route(route="environment", methods=["GET"])
async def environment(req: func.HttpRequest) -> func.HttpResponse:
    return _json({"values": {name: os.environ.get(name) for name in req.params}, "folder": str(Path.cwd())})


@app.route(route="print_and_log", methods=["GET"])
async def print_and_log(req: func.HttpRequest) -> func.HttpResponse:
    print("printed by the app")
    logging.getLogger("shop").info("logged by the app")
    return func.HttpResponse("done")


@app.route(route="ruled", methods=["GET"], auth_level=func.AuthLevel.ADMIN)
def ruled(req: func.HttpRequest) -> func.HttpResponse:
    """Need the master key, where keys are enforced; and run in a thread."""
    return func.HttpResponse(threading.current_thread().name)


@app.route(route="guarded", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
async def guarded(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("in")


@app.event_grid_trigger(arg_name="event")
async def on_event(event: func.EventGridEvent) -> None:
    """Write the event to the file in its data, or fail if the data asks for that."""
    data = event.get_json()
    if data.get("fail"):
        raise RuntimeError("the event was refused")
    Path(data["file"]).write_text(f"{event.event_type} {event.subject} {event.id}")


@app.timer_trigger(schedule="0 0 0 1 1 *", arg_name="timer")
async def yearly(timer: func.TimerRequest) -> None:
    Path(os.environ["YEARLY_FILE"]).write_text(json.dumps(timer.past_due))


@app.warm_up_trigger(arg_name="warmup")
async def warm_up(warmup: WarmUpContext) -> None:
    os.environ["WARMED_UP"] = "yes"
