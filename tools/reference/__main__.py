"""``python -m tools.reference``: writes the reference pages of the settings, the errors and the metrics."""

from pathlib import Path

from tools.reference import errors, metrics, settings

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


def pages() -> dict[Path, str]:
    """The text of each page."""
    return {
        FOLDER / "settings.md": settings.page(),
        FOLDER / "errors.md": errors.page(),
        FOLDER / "metrics.md": metrics.page(),
    }


def main() -> None:
    """Write every page."""
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
