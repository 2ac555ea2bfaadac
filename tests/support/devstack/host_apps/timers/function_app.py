# A trigger's argument must be declared, whether it is used or not.
# ruff: noqa: ARG001
"""An app whose timers record their runs, a line of JSON each, in the file that RUNS names."""

import asyncio
import json
import logging
import os
from pathlib import Path

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def _record(kind: str, timer: func.TimerRequest) -> None:
    status = timer.schedule_status  # type: ignore[attr-defined] # the abstract class does not declare it
    line = {"kind": kind, "pid": os.getpid(), "past_due": timer.past_due, "status": status}
    with Path(os.environ["RUNS"]).open("a") as runs:
        runs.write(json.dumps(line) + "\n")


@app.timer_trigger(schedule="%EVERY%", arg_name="timer")
async def often(timer: func.TimerRequest) -> None:
    """Run often, and take longer than the time between two runs."""
    _record("begin", timer)
    await asyncio.sleep(0.25)
    _record("end", timer)


@app.timer_trigger(schedule="%EVERY%", arg_name="timer")
async def often_logging(timer: func.TimerRequest) -> None:
    logging.getLogger("shop").info("restocked")
    await asyncio.sleep(0.25)


@app.timer_trigger(schedule="%EVERY%", arg_name="timer")
async def failing(timer: func.TimerRequest) -> None:
    await asyncio.sleep(0.25)
    raise RuntimeError("the timer failed on purpose")


@app.timer_trigger(schedule="0 0 0 * * *", arg_name="timer", run_on_startup=True)
async def daily(timer: func.TimerRequest) -> None:
    """Run at the start, and at midnight."""
    _record("daily", timer)


@app.timer_trigger(schedule="0 0 * * * *", arg_name="timer")
async def hourly(timer: func.TimerRequest) -> None:
    _record("hourly", timer)


@app.route(route="pid", methods=["GET"])
async def pid(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(str(os.getpid()))
