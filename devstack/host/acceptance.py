"""Which of the functions that were found the host accepts, with warnings."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from devstack.host.errors import FunctionError, HostError
from devstack.host.functions import HTTP_TRIGGER, TIMER_TRIGGER, Function, make_function
from devstack.host.logs import log
from devstack.host.messages import RpcFunctionMetadata
from devstack.host.routing import Route, RouteTable, hidden_routes
from devstack.host.schedules import Schedule, parse_schedule, time_zone


@dataclass(frozen=True)
class Accepted:
    """The functions that the host runs, in the order of their names, with their routes and schedules."""

    functions: tuple[Function, ...]
    routes: RouteTable
    schedules: Mapping[str, Schedule]


def accept(found: Iterable[RpcFunctionMetadata], settings: Mapping[str, str], route_prefix: str) -> Accepted:
    """Accept the valid functions; one in error is reported and left out, as in Azure.

    Raises:
        HostError: every function is in error, or WEBSITE_TIME_ZONE is.
    """
    zone = _zone(settings)
    functions, routes, schedules = [], [], {}
    for metadata in sorted(found, key=lambda function: function.name.upper()):
        try:
            function = make_function(metadata, settings)
            if function.trigger_type == HTTP_TRIGGER:
                routes.append(_route(function, route_prefix))
            if function.trigger_type == TIMER_TRIGGER:
                schedules[function.name] = _schedule(function, zone)
        except FunctionError as error:
            log.error("The '%s' function is in error: %s", metadata.name, error)
            continue
        functions.append(function)
    if not functions:
        raise HostError("the app has no valid function: each is in error (see above)")
    table = RouteTable(routes)
    _warn(table)
    return Accepted(tuple(functions), table, schedules)


def _route(function: Function, prefix: str) -> Route:
    template = "/".join(part for part in (prefix, function.route.strip("/")) if part)
    try:
        return Route.parse(function.name, template, function.methods)
    except ValueError as error:
        raise FunctionError(f"its route '{function.route}' is malformed: {error}") from None


def _schedule(function: Function, zone: dt.tzinfo) -> Schedule:
    text = str(function.trigger.get("schedule", ""))
    try:
        return parse_schedule(text, zone)
    except ValueError as error:
        raise FunctionError(f"its schedule '{text}' is not valid: {error}") from None


def _zone(settings: Mapping[str, str]) -> dt.tzinfo:
    try:
        return time_zone(settings.get("WEBSITE_TIME_ZONE"))
    except ValueError as error:
        raise HostError(str(error)) from None


def _warn(table: RouteTable) -> None:
    for first, second in hidden_routes(table.routes):
        log.warning(
            "The route '%s' of '%s' is tried before '%s' of '%s', since functions are tried in the order of their"
            " names, here and in Azure: rename a function, or add a constraint to the route",
            first.text,
            first.function,
            second.text,
            second.function,
        )
