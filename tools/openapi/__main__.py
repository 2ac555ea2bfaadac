"""``python -m tools.openapi`` (``make openapi``): write web/openapi.json and web/docs.html."""

from pathlib import Path

from tools.openapi import document, page

WEB = Path(__file__).parents[2] / "web"


def generate() -> dict[str, str]:
    """The text of each generated file, by its name in ``web``."""
    built = document.build()
    return {"openapi.json": document.serialize(built), "docs.html": page.render(built)}


if __name__ == "__main__":
    for name, text in generate().items():
        (WEB / name).write_text(text, encoding="utf-8", newline="\n")
