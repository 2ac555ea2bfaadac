# A trigger's argument must be declared, whether it is used or not.
# ruff: noqa: ARG001
"""An app with valid functions, and one function for each error that the host must report."""

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="valid", methods=["GET"])
async def valid(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("valid")


@app.route(route="underscore", methods=["GET"], trigger_arg_name="my_request")
async def underscore(my_request: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("never")


@app.timer_trigger(schedule="0 61 * * * *", arg_name="timer")
async def bad_cron(timer: func.TimerRequest) -> None: ...


@app.timer_trigger(schedule="%NOT_SET%", arg_name="timer")
async def unresolved(timer: func.TimerRequest) -> None: ...


@app.route(route="admin/mine", methods=["GET"])
async def reserved(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("never")


@app.route(route="open/{brace", methods=["GET"])
async def malformed(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("never")


@app.queue_trigger(arg_name="message", queue_name="q", connection="C")
async def queued(message: func.QueueMessage) -> None:
    """Have a trigger that the local host does not implement."""


@app.route(route="{*everything}", methods=["GET"])
async def greedy(req: func.HttpRequest) -> func.HttpResponse:
    """Come before 'valid' in the order of names, and match everything."""
    return func.HttpResponse("greedy")
