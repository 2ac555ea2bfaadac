"""Makes tests/support/infra/types.json, a snapshot of Azure's resource types: ``python -m tools.azure_types AZMCP``.

AZMCP is the program of the package msmcp-azure, which knows the types without a network. Only the types of infra/ are
kept, and of them what a deployment can set: names, types, and which are required. Three that the program does not know
are written by hand in tests/support/infra/types_by_hand.json.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SNAPSHOT = ROOT / "tests" / "support" / "infra" / "types.json"
_RESOURCE = re.compile(r"^resource \w+ '([\w.]+/[\w/]+)@", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z][\w.]*")


def main(azmcp: str) -> None:
    """Write the snapshot."""
    types = sorted({name for path in (ROOT / "infra").glob("*.bicep") for name in _RESOURCE.findall(path.read_text())})
    snapshot = dict(part for name in types for part in _trimmed(azmcp, name))
    lines = [f"{json.dumps(name)}: {json.dumps(content, sort_keys=True)}" for name, content in sorted(snapshot.items())]
    SNAPSHOT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _trimmed(azmcp: str, resource: str) -> Iterator[tuple[str, Any]]:
    command = [azmcp, "bicepschema", "get", "--resource-type", resource]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    found = json.loads(done.stdout)["results"].get("BicepSchemaResult")
    if found is None:
        print(f"not known to azmcp, write it by hand: {resource}")
        return
    named = {one["name"]: one for one in found if one["$type"] in {"Object", "DiscriminatedObject"}}
    [top] = [one for one in found if one["$type"] == "Resource" and one["name"].startswith(f"{resource}@")]
    kept: dict[str, Any] = {"": _shape(top["bodyType"])}
    waiting = [""]
    while waiting:
        for name in set(_NAME.findall(json.dumps(kept[waiting.pop()]))) & named.keys() - kept.keys():
            kept[name] = _shape(named[name])
            waiting.append(name)
    yield top["name"], kept


def _shape(one: Mapping[str, Any]) -> dict[str, Any]:
    if one["$type"] == "DiscriminatedObject":
        return {"anyOf": [_shape(element) for element in one["elements"]], "base": _properties(one["baseProperties"])}
    shape: dict[str, Any] = {"properties": _properties(one["properties"])}
    if "additionalPropertiesType" in one:
        shape["additional"] = one["additionalPropertiesType"]
    return shape


def _properties(properties: list[dict[str, str]]) -> dict[str, list[str]]:
    """Each property's type, and whether it is required; without what only Azure sets."""
    settable = (one for one in properties if "ReadOnly" not in one.get("flags", ""))
    return {one["name"]: [one["type"], *_required(one)] for one in settable}


def _required(one: Mapping[str, str]) -> list[str]:
    return ["required"] if "Required" in one.get("flags", "") else []


if __name__ == "__main__":
    main(*sys.argv[1:])
