"""An HTML page as tests read it."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """A page's ids, links and text, and its inline code, which a Content-Security-Policy blocks."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.inline: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "style" or (tag == "script" and "src" not in values):
            self.inline.append(tag)
        self.inline += [f"{tag} {name}" for name in values if name == "style" or name.startswith("on")]
        self.ids += [value for name, value in values.items() if name == "id"]
        self.links |= {value for name, value in values.items() if name in {"src", "href"} and value}

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "
