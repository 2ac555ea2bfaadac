# A trigger names its argument, read or not.
# ruff: noqa: ARG001
"""An app whose timers note when and where they run."""

import asyncio
import json
import os
from pathlib import Path

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def _note(kind: str, timer: func.TimerRequest) -> None:
    status = timer.schedule_status  # type: ignore[attr-defined] # the abstract class does not say it
    line = {"kind": kind, "pid": os.getpid(), "past_due": timer.past_due, "status": status}
    with Path(os.environ["NOTES"]).open("a") as notes:
        notes.write(json.dumps(line) + "\n")


@app.timer_trigger(schedule="%EVERY%", arg_name="timer")
async def often(timer: func.TimerRequest) -> None:
    """Run often, and take longer than the time between two runs."""
    _note("begin", timer)
    await asyncio.sleep(0.25)
    _note("end", timer)


@app.timer_trigger(schedule="0 0 0 * * *", arg_name="timer", run_on_startup=True)
async def daily(timer: func.TimerRequest) -> None:
    """Run at the start, and at midnight."""
    _note("daily", timer)


@app.timer_trigger(schedule="0 0 * * * *", arg_name="timer")
async def hourly(timer: func.TimerRequest) -> None:
    """Run on the hour."""
    _note("hourly", timer)


@app.route(route="pid", methods=["GET"])
async def pid(req: func.HttpRequest) -> func.HttpResponse:
    """Say which process answers."""
    return func.HttpResponse(str(os.getpid()))
