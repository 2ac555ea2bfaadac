"""Reads Bicep files, and checks them without a compiler: types, references, modules, roles, what Flex refuses.

``types.json`` is a snapshot of Azure's own resource types (tools/azure_types.py), ``types_by_hand.json`` holds those
that its source does not know.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

HERE = Path(__file__).parent

FUNCTIONS = frozenset(
    (
        *("cidrSubnet", "concat", "empty", "environment", "guid", "join", "loadJsonContent", "loadTextContent"),
        *("replace", "resourceGroup", "resourceId", "string", "subscription", "subscriptionResourceId", "take"),
        *("tenant", "toLower", "union", "uniqueString"),
    )
)
# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "secretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
    "secretsOfficer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "blobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "metricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
}
# https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan, and its deprecated properties and settings.
REFUSED = frozenset(
    (
        *("alwaysOn", "ftpsState", "functionAppScaleLimit", "healthCheckPath", "linuxFxVersion", "netFrameworkVersion"),
        *("use32BitWorkerProcess", "FUNCTIONS_EXTENSION_VERSION", "FUNCTIONS_WORKER_PROCESS_COUNT", "TZ"),
        *("FUNCTIONS_WORKER_RUNTIME", "WEBSITE_CONTENTSHARE", "WEBSITE_RUN_FROM_PACKAGE", "WEBSITE_TIME_ZONE"),
        *("ENABLE_ORYX_BUILD", "SCM_DO_BUILD_DURING_DEPLOYMENT"),
    )
)
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Parameter:
    """A parameter's type, whether it has a default, and its decorators with their arguments."""

    kind: str
    has_default: bool
    limits: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Bicep:
    """The declarations of one file."""

    path: Path
    root: Node
    parameters: dict[str, Parameter] = field(default_factory=dict)
    variables: dict[str, Node] = field(default_factory=dict)
    resources: dict[str, tuple[str, Node]] = field(default_factory=dict)
    modules: dict[str, tuple[str, Node]] = field(default_factory=dict)
    outputs: set[str] = field(default_factory=set)


def text(node: Node) -> str:
    assert node.text is not None
    return node.text.decode()


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.named_children:
        yield from walk(child)


def read(path: Path) -> Bicep:
    """The declarations of a file."""
    root = Parser(Language(tree_sitter_bicep.language())).parse(path.read_bytes()).root_node
    file = Bicep(path, root)
    decorators: dict[str, str] = {}
    for node in root.named_children:
        parts = node.named_children
        match node.type:
            case "decorators":
                calls = (re.fullmatch(r"@(\w+)\((.*)\)", text(one), re.DOTALL) for one in parts)
                decorators = {call[1]: call[2] for call in calls if call}
                continue
            case "parameter_declaration":
                file.parameters[text(parts[0])] = Parameter(text(parts[1]), len(parts) > 2, decorators)
            case "variable_declaration":
                file.variables[text(parts[0])] = parts[1]
            case "resource_declaration":
                file.resources[text(parts[0])] = (text(parts[1]).strip("'"), _body(parts[2]))
            case "module_declaration":
                file.modules[text(parts[0])] = (text(parts[1]).strip("'"), _body(parts[2]))
            case "output_declaration":
                file.outputs.add(text(parts[0]))
        decorators = {}
    return file


def _body(node: Node) -> Node:
    """The object of a declaration, within its condition or its loop."""
    return node if node.type == "object" else next(one for one in node.named_children if one.type == "object")


def members(node: Node) -> dict[str, Node]:
    """The properties of an object; those whose name is computed are left out."""
    pairs = (one.named_children for one in node.named_children if one.type == "object_property")
    return {text(name).strip("'"): value for name, value in pairs if "${" not in text(name)}


def faults(folder: Path) -> list[str]:
    """Everything that is wrong with the Bicep files of a folder."""
    files = {path.name: read(path) for path in sorted(folder.glob("*.bicep"))}
    return [f"{name}: {fault}" for name, file in files.items() for fault in _faults(file, files)]


def _faults(file: Bicep, files: Mapping[str, Bicep]) -> Iterator[str]:
    if file.root.has_error:
        yield "is not valid Bicep"
        return
    for kind, body in file.resources.values():
        shape = types().get(kind)
        if shape is None:
            yield f"{kind} is not a known resource type and version"
        else:
            inherent = {"parent", "scope", "dependsOn"}
            yield from (f"{kind}{fault}" for fault in _check(body, shape[""], shape, inherent))
    yield from _references(file)
    yield from _modules(file, files)
    yield from _roles(file)
    loaded = re.findall(r"\bload(?:Json|Text)Content\('([^']+)'\)", text(file.root))
    yield from (f"there is no {name}" for name in loaded if not (file.path.parent / name).is_file())
    names = {text(node).strip("'") for one in walk(file.root) if one.type == "object_property" for node in one.children}
    yield from (f"{name} is refused by Flex Consumption" for name in sorted(REFUSED & names))


@cache
def types() -> Mapping[str, Any]:
    known: dict[str, Any] = {}
    for name in ("types.json", "types_by_hand.json"):
        known |= json.loads((HERE / name).read_text(encoding="utf-8"))
    return known


def _check(node: Node, shape: Mapping[str, Any], named: Mapping[str, Any], inherent: set[str]) -> Iterator[str]:
    """Compare an object with its type."""
    if "anyOf" in shape:
        found = [list(_check(node, _with(one, shape), named, inherent)) for one in shape["anyOf"]]
        yield from min(found, key=len)
        return
    given = members(node)
    for name, (_, *flags) in shape["properties"].items():
        if flags and name not in given:
            yield f": {name} is missing"
    for name, value in given.items():
        expected = shape["properties"].get(name, [shape.get("additional")])[0]
        if expected is not None:
            yield from (f".{name}{fault}" for fault in _value(value, expected, named))
        elif name not in inherent:
            yield f": {name} is not a property"


def _with(one: Mapping[str, Any], shape: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**one, "properties": {**shape["base"], **one["properties"]}}


def _value(node: Node, expected: str, named: Mapping[str, Any]) -> Iterator[str]:
    """Compare a value with its type; what is computed is not followed."""
    if node.type == "object" and expected in named:
        yield from _check(node, named[expected], named, set())
    elif node.type == "array" and expected.endswith("[]"):
        for one in node.named_children:
            yield from (f"[]{fault}" for fault in _value(one, expected.removesuffix("[]"), named))
    elif node.type == "ternary_expression":
        for branch in node.named_children[1:]:
            yield from _value(branch, expected, named)
    elif node.type in _LITERALS and expected != "any":
        yield from _literal(node, expected, named)


_LITERALS = {"object": "object", "array": "array", "string": "string", "number": "int", "boolean": "bool"}


def _literal(node: Node, expected: str, named: Mapping[str, Any]) -> Iterator[str]:
    kind, choices = _LITERALS[node.type], [part.strip() for part in expected.split(" | ")]
    # A list of names that ends with `string` is open: Azure may know more of them, and still these are all.
    words = [one for one in choices if one != "string"]
    is_type = expected in named or expected in {"int", "bool", "object"} or expected.endswith("[]")
    if kind == "string" and not is_type:
        plain = text(node).strip("'")
        if words and "${" not in plain and plain not in words:
            yield f": '{plain}' is none of {', '.join(words)}"
    elif kind not in choices:
        yield f": {kind} {text(node)[:40]}, where {expected} is expected"


def _references(file: Bicep) -> Iterator[str]:
    declared = {*file.parameters, *file.variables, *file.resources, *file.modules}
    used: set[str] = set()
    for node in walk(file.root):
        if node.type != "identifier" or node.parent is None:
            continue
        parent, name = node.parent, text(node)
        is_name = parent.type.endswith("_declaration") and parent.named_children[0] == node
        is_key = parent.type == "object_property" and parent.named_children[0] == node
        is_decorator = parent.parent is not None and parent.parent.type == "decorator"
        if is_name or is_key or is_decorator:
            continue
        used.add(name)
        is_call = parent.type == "call_expression" and parent.child_by_field_name("function") == node
        if name not in (FUNCTIONS if is_call else declared | _loop_names(node)):
            yield f"{name} is not declared"
    yield from (f"{name} is never used" for name in sorted((file.parameters.keys() | file.variables.keys()) - used))


def _loop_names(node: Node) -> set[str]:
    names: set[str] = set()
    above: Node | None = node
    while above is not None:
        if above.type == "for_statement":
            names |= {text(one) for one in walk(above) if one.type in {"loop_variable", "loop_enumerator"}}
            names |= {text(above.named_children[0])}
        above = above.parent
    return names


def _modules(file: Bicep, files: Mapping[str, Bicep]) -> Iterator[str]:
    for symbol, (name, body) in file.modules.items():
        target = files.get(name)
        if target is None:
            yield f"module {symbol}: there is no {name}"
            continue
        given = members(members(body)["params"])
        needed = {one for one, about in target.parameters.items() if not about.has_default}
        yield from (f"module {symbol} misses {one}" for one in sorted(needed - given.keys()))
        yield from (
            f"module {symbol} has no parameter {one}" for one in sorted(given.keys() - target.parameters.keys())
        )
        for output in re.findall(rf"\b{symbol}\.outputs\.(\w+)", text(file.root)):
            if output not in target.outputs:
                yield f"module {symbol} has no output {output}"


def _roles(file: Bicep) -> Iterator[str]:
    for name, value in file.variables.items():
        plain = text(value).strip("'")
        if _GUID.fullmatch(plain) and ROLES.get(name) != plain:
            yield f"{name} is not the role {plain}"


def settings_of(folder: Path) -> set[str]:
    """The gateway's settings that the app's Bicep file derives from its resources and parameters."""
    return set(members(read(folder / "app.bicep").variables["ownSettings"]))


def parameter_faults(file: Bicep, values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the values of a parameter file."""
    kinds = {"string": str, "int": int, "bool": bool, "array": list, "object": dict}
    for name, about in file.parameters.items():
        if name not in values and not about.has_default:
            yield f"{name} is missing"
    for name, value in values.items():
        about = file.parameters.get(name, Parameter("", has_default=False))
        if not about.kind:
            yield f"{name} is not a parameter"
        elif type(value) is not kinds[about.kind]:
            yield f"{name} is not of type {about.kind}"
        elif "allowed" in about.limits and json.dumps(value).replace('"', "'") not in about.limits["allowed"]:
            yield f"{name} is none of {about.limits['allowed']}"
        elif "minValue" in about.limits and value not in range(
            int(about.limits["minValue"]), int(about.limits["maxValue"]) + 1
        ):
            yield f"{name} is out of range"
