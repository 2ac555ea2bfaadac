# A trigger names its argument, read or not.
# ruff: noqa: ARG001
"""An app in which one function is sound, and every other has a fault that the host must name."""

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="sound", methods=["GET"])
async def sound(req: func.HttpRequest) -> func.HttpResponse:
    """Run, whatever the others do."""
    return func.HttpResponse("sound")


@app.route(route="underscore", methods=["GET"], trigger_arg_name="my_request")
async def underscore(my_request: func.HttpRequest) -> func.HttpResponse:
    """Have a binding name that the host refuses."""
    return func.HttpResponse("never")


@app.timer_trigger(schedule="0 61 * * * *", arg_name="timer")
async def bad_cron(timer: func.TimerRequest) -> None:
    """Have a minute that no hour has."""


@app.timer_trigger(schedule="%NOT_SET%", arg_name="timer")
async def unresolved(timer: func.TimerRequest) -> None:
    """Name a setting that is missing."""


@app.route(route="admin/mine", methods=["GET"])
async def reserved(req: func.HttpRequest) -> func.HttpResponse:
    """Want one of the host's own routes."""
    return func.HttpResponse("never")


@app.route(route="open/{brace", methods=["GET"])
async def malformed(req: func.HttpRequest) -> func.HttpResponse:
    """Have a template that cannot be parsed."""
    return func.HttpResponse("never")


@app.queue_trigger(arg_name="message", queue_name="q", connection="C")
async def queued(message: func.QueueMessage) -> None:
    """Have a trigger that the local host does not bring."""


@app.route(route="{*everything}", methods=["GET"])
async def greedy(req: func.HttpRequest) -> func.HttpResponse:
    """Come before 'sound' in the order of names, and match all."""
    return func.HttpResponse("greedy")
