"""What a request carries along and leaves behind: its deadline and trace, the times of its parts, its log lines."""

from shared.telemetry.context import RequestContext
from shared.telemetry.log import fault_path, in_thread, log
from shared.telemetry.timings import CREDENTIALS, DECODE, PREDICT, WAIT, Timings

__all__ = [
    "CREDENTIALS",
    "DECODE",
    "PREDICT",
    "WAIT",
    "RequestContext",
    "Timings",
    "fault_path",
    "in_thread",
    "log",
]
