"""Pages in Markdown: their headings, and their blocks of code with what is said about each."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_FENCED = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\S+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(#([^)]+)\)")


@dataclass(frozen=True)
class Block:
    """A block of code, the comment above it (``runs: NAME``, or empty), and the words of its section before it."""

    language: str
    code: str
    note: str
    words: str


def blocks(page: str) -> Iterator[Block]:
    """All blocks of code, in their order."""
    for found in _FENCED.finditer(page):
        words = re.split(r"^#", page[: found.start()], flags=re.MULTILINE)[-1]
        yield Block(found["language"], found["code"], found["note"] or "", words)


def anchors(page: str) -> set[str]:
    """What can be linked to: GitHub's names of the headings."""
    seen = Counter[str]()
    names = set()
    for heading in _HEADING.findall(_FENCED.sub("", page)):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        names.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def links(page: str) -> set[str]:
    """Where the page links to within itself."""
    return set(_LINK.findall(page))
