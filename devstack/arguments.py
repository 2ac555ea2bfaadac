"""Types of command line arguments."""

import argparse
import contextlib
import math
from collections.abc import Callable


def whole_number(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """Accepts decimal numbers from ``lowest`` to ``highest`` (None: without an end)."""

    def parse(text: str) -> int:
        if text.isascii() and text.isdecimal() and int(text) >= lowest and (highest is None or int(text) <= highest):
            return int(text)
        expected = f", {lowest} or more" if highest is None else f" from {lowest} to {highest}"
        raise argparse.ArgumentTypeError(f"must be a whole number{expected}, not {text!r}")

    return parse


port = whole_number(0, 65535)


def _amount(unit: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        with contextlib.suppress(ValueError):
            value = float(text)
            if math.isfinite(value) and value >= 0:
                return value
        raise argparse.ArgumentTypeError(f"must be a number of {unit}, 0 or more, not {text!r}")

    return parse


seconds = _amount("seconds")
milliseconds = _amount("milliseconds")
