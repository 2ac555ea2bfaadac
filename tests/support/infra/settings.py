"""The names of the gateway's settings, from the schemas by which it reads them."""

import ast
from collections.abc import Iterable

from shared.settings.reader import settings_of
from tests.conftest import ROOT
from tools.reference import settings as reference

OF_A_SERVICE = {
    one.key
    for title, _, schemas in reference.SECTIONS
    if title == "A service"
    for schema in schemas
    for one in settings_of(schema)
}
GLOBAL = {
    one.key
    for title, _, schemas in reference.SECTIONS
    if title != "A service"
    for schema in schemas
    for one in settings_of(schema)
}


def declared() -> set[str]:
    """The names in all calls of ``setting`` in the code, listed by a section of the reference or not."""
    return {
        str(node.args[0].value)
        for path in (ROOT / "shared" / "settings").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setting"
        if isinstance(node.args[0], ast.Constant)
    }


def unknown(names: Iterable[str]) -> set[str]:
    """Those of the names that are no settings."""
    return {name for name in names if not _known(name)}


def _known(name: str) -> bool:
    parts = name.split("__")
    if len(parts) == 3 and parts[0] == "SERVICE" and parts[1]:
        return parts[2] in OF_A_SERVICE
    return name in GLOBAL
