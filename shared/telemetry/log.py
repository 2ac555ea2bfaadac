"""The gateway's logger, and how an unexpected exception is described in it."""

import logging
import traceback
from pathlib import Path

from shared.quoting import printable

# Characters of a line; only the list of all faults of the settings comes near.
_LINE = 4000

log = logging.getLogger("scoring_gateway")


def _one_line(record: logging.LogRecord) -> bool:
    """Make a record one printable line, whatever text of foreign origin is in it: nobody forges a line of this log."""
    record.msg, record.args = printable(record.getMessage(), _LINE), None
    return True


log.addFilter(_one_line)

_APP_ROOT = Path(__file__).resolve().parents[2]


def fault_path(fault: BaseException) -> str:
    """An exception's type and its path through the project's files, outermost first.

    Neither its message nor any line of code: both could repeat what was being handled. Where it was raised in a
    library, that file comes last.
    """
    frames = traceback.extract_tb(fault.__traceback__)
    own = [(Path(frame.filename), frame.lineno) for frame in frames]
    steps = [
        f"{path.relative_to(_APP_ROOT)}:{line}"
        for path, line in own
        if path.is_relative_to(_APP_ROOT) and "site-packages" not in path.parts
    ]
    if own and not (steps and steps[-1].endswith(f"{own[-1][0].name}:{own[-1][1]}")):
        steps.append(f"{own[-1][0].name}:{own[-1][1]}")
    return f"{type(fault).__name__} at {' > '.join(steps) or 'an unknown location'}"
