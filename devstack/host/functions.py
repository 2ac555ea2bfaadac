"""A function of the app, and the checks by which the host accepts it."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from devstack.host.errors import FunctionError
from devstack.host.messages import RpcFunctionMetadata

HTTP_TRIGGER = "httptrigger"
TIMER_TRIGGER = "timertrigger"
WARMUP_TRIGGER = "warmuptrigger"
EVENT_GRID_TRIGGER = "eventgridtrigger"

# The binding extensions that this host has; the extension bundle of Azure has some forty.
_TRIGGERS = {HTTP_TRIGGER, TIMER_TRIGGER, WARMUP_TRIGGER, EVENT_GRID_TRIGGER}
_OUTPUTS = {"http"}

# Two patterns of the real host.
_FUNCTION_NAME = re.compile(r"(?!host$)[a-z][a-z0-9_-]{0,127}", re.IGNORECASE)
_BINDING_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9]{0,127}|\$return")
_SETTING_REFERENCE = re.compile(r"%([^%]+)%")
_RESERVED_ROUTES = ("admin", "runtime")


@dataclass(frozen=True, eq=False)
class Function:
    """A function that can be invoked. ``trigger`` is its trigger binding, as in function.json."""

    name: str
    id: str
    trigger: Mapping[str, Any]
    bindings: tuple[Mapping[str, Any], ...]
    directory: str = ""
    script_file: str = ""

    @property
    def trigger_type(self) -> str:
        return str(self.trigger["type"]).lower()

    @property
    def parameter(self) -> str:
        """The name of the argument for the trigger's data."""
        return str(self.trigger["name"])

    @property
    def route(self) -> str:
        """The HTTP route without the prefix; the function's name where the app sets none."""
        return str(self.trigger.get("route") or self.name)

    @property
    def methods(self) -> list[str] | None:
        """The allowed HTTP methods, None for all."""
        methods = self.trigger.get("methods")
        return [str(method).upper() for method in methods] if methods else None

    @property
    def auth_level(self) -> str:
        return str(self.trigger.get("authLevel", "function")).lower()


def make_function(metadata: RpcFunctionMetadata, settings: Mapping[str, str]) -> Function:
    """Check a function that the worker library found, and resolve ``%SETTING%`` in its bindings.

    Raises:
        FunctionError: the real host would report this function as being in error.
    """
    if not _FUNCTION_NAME.fullmatch(metadata.name):
        raise FunctionError("its name is invalid: use letters, digits, '_' and '-', and a letter first")
    bindings = tuple(_resolve(json.loads(raw), settings) for raw in metadata.raw_bindings)
    for binding in bindings:
        _check_binding(binding)
    triggers = [binding for binding in bindings if str(binding["type"]).lower().endswith("trigger")]
    if len(triggers) != 1:
        raise FunctionError("it must have exactly one trigger")
    function = Function(
        name=metadata.name,
        id=metadata.function_id,
        trigger=triggers[0],
        bindings=bindings,
        directory=metadata.directory,
        script_file=metadata.script_file,
    )
    _check_route(function)
    return function


def resolve_settings(text: str, settings: Mapping[str, str]) -> str:
    """Replace each ``%NAME%`` by the app setting of that name.

    Raises:
        FunctionError: there is no such setting.
    """

    def value(match: re.Match[str]) -> str:
        try:
            return settings[match[1]]
        except KeyError:
            raise FunctionError(
                f"'%{match[1]}%' does not resolve to a value:"
                f" set {match[1]} in local.settings.json (Values) or in the environment"
            ) from None

    return _SETTING_REFERENCE.sub(value, text)


def by_trigger(functions: Iterable[Function], trigger_type: str) -> list[Function]:
    """The functions with a kind of trigger."""
    return [function for function in functions if function.trigger_type == trigger_type]


def _resolve(binding: dict[str, Any], settings: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: resolve_settings(value, settings) if isinstance(value, str) else value for name, value in binding.items()
    }


def _check_binding(binding: Mapping[str, Any]) -> None:
    name, kind = str(binding.get("name")), str(binding.get("type"))
    if not _BINDING_NAME.fullmatch(name):
        raise FunctionError(
            f"the binding name {name} is invalid: rename the argument,"
            " a binding's name has letters and digits only ('_' is not allowed)"
        )
    allowed = _TRIGGERS if kind.lower().endswith("trigger") else _OUTPUTS
    if kind.lower() not in allowed:
        raise FunctionError(f"the binding type {kind} is not part of this local host: run the app with `func start`")


def _check_route(function: Function) -> None:
    first = function.route.lstrip("/").split("/")[0].lower()
    if function.trigger_type == HTTP_TRIGGER and first in _RESERVED_ROUTES:
        raise FunctionError(f"its route '{function.route}' conflicts with a route of the host: rename '{first}'")
