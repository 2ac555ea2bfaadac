"""Pages in Markdown: their headings, links and blocks of code."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_FENCED = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\S+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A block of code, the comment above it (``runs: NAME``, or empty), and the text of its section before it."""

    language: str
    code: str
    note: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    """All blocks of code, in their order."""
    for found in _FENCED.finditer(page):
        text = re.split(r"^#", page[: found.start()], flags=re.MULTILINE)[-1]
        yield Block(found["language"], found["code"], found["note"] or "", text)


def anchors(page: str) -> set[str]:
    """The link targets: GitHub's names of the headings."""
    seen = Counter[str]()
    names = set()
    for heading in _HEADING.findall(_FENCED.sub("", page)):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        names.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


def links(page: str) -> set[str]:
    """The targets of the page's links."""
    return set(_LINK.findall(_FENCED.sub("", page)))
