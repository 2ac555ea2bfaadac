"""The list of functions that the host prints when it starts, in the form of ``func start``."""

from collections.abc import Iterable, Iterator

from devstack.host.functions import HTTP_TRIGGER, Function


def listing(functions: Iterable[Function], base: str, route_prefix: str) -> Iterator[str]:
    """One line for each function: its methods and address, or the kind of its trigger."""
    yield "Functions:"
    width = max((len(function.name) for function in functions), default=0)
    for function in functions:
        yield f"    {function.name + ':':<{width + 1}} {_target(function, base, route_prefix)}"


def _target(function: Function, base: str, route_prefix: str) -> str:
    if function.trigger_type != HTTP_TRIGGER:
        return str(function.trigger["type"])
    methods = f"[{','.join(function.methods)}] " if function.methods else ""
    prefix = f"{route_prefix}/" if route_prefix else ""
    return f"{methods}{base}/{prefix}{function.route.lstrip('/')}"
