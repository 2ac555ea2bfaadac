"""The trigger data of a function that is run by hand or by the host."""

import json
from collections.abc import Mapping

from azure_functions_runtime.bindings.datumdef import Datum

from devstack.host.functions import EVENT_GRID_TRIGGER, HTTP_TRIGGER, TIMER_TRIGGER, Function


def manual_data(function: Function, text: str) -> Datum:
    """The data for ``POST /admin/functions/{name}``; ``text`` is the request's ``input``."""
    kind = function.trigger_type
    if kind == TIMER_TRIGGER:
        return timer_data(None)
    if kind == HTTP_TRIGGER:
        return _http_data(function, text)
    if kind == EVENT_GRID_TRIGGER:
        return Datum(text or "{}", "json")
    return Datum(text, "string")


def timer_data(status: Mapping[str, str] | None, *, past_due: bool = False) -> Datum:
    """The data of a timer. ``status`` has Last, Next and LastUpdated, where the schedule is monitored."""
    content = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
    return Datum(json.dumps(content), "json")


def _http_data(function: Function, text: str) -> Datum:
    value = {
        "method": Datum("POST", "string"),
        "url": Datum(f"http://localhost/admin/functions/{function.name}", "string"),
        "headers": {"content-type": Datum("application/json", "string")},
        "query": {},
        "params": {},
        "body": Datum(text.encode(), "bytes"),
    }
    return Datum(value, "http")
