"""Mutants of one file, by cosmic-ray's operators: ``python -m tools.mutants FILE COUNT SEED`` prints them as JSON.

Runs in the environment of ``tools/requirements-mutate.txt``.
"""

import json
import random
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

# ``|`` joins types here, and nothing else; None and members of an enumeration are equal where they are identical; the
# operators of variables take arguments, and replace any name by any other.
_LEFT_OUT = ("BitOr_", "Is_Eq", "IsNot_NotEq", "Variable")
# Arguments such as ``frozen`` protect against faults of the code, and change nothing that it does.
_LEFT_OUT_LINE = "@dataclass("


def main(file: str, count: str, seed: str) -> None:
    """Print the line, the operator and the source of so many mutants, each at another place."""
    source = Path(file).read_text(encoding="utf-8")
    tree = get_ast(source)
    lines = source.splitlines()
    places: defaultdict[Any, list[tuple[str, int]]] = defaultdict(list)
    for name in operator_names():
        if not any(part in name for part in _LEFT_OUT):
            operator = get_operator(name)()
            found = [place for node in ast_nodes(tree) for place in operator.mutation_positions(node)]
            for occurrence, place in enumerate(found):
                places[place].append((name, occurrence))
    chance = random.Random(f"{seed} {file}")  # noqa: S311 - no secret
    mutants: list[dict[str, Any]] = []
    kept = sorted(place for place in places if not lines[place[0][0] - 1].startswith(_LEFT_OUT_LINE))
    for place in chance.sample(kept, len(kept)):
        if len(mutants) == int(count):
            break
        name, occurrence = chance.choice(places[place])
        try:
            mutated = mutate_code(source, get_operator(name)(), occurrence)
        except AttributeError:
            continue  # cosmic-ray cannot replace an exception with a dotted name
        mutants.append({"line": place[0][0], "operator": name.rpartition("/")[2], "source": mutated})
    print(json.dumps(mutants))


if __name__ == "__main__":
    main(*sys.argv[1:])
