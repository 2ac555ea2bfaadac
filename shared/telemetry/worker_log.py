"""The worker's own log of each invocation, which is switched off: nobody but Microsoft's support can see it.

Microsoft's worker logs two lines for each invocation. Each is a message on the gRPC stream to the host, made and sent
by threads that compete with the event loop for the interpreter: a third or more of the processor time of a score. The
host does not pass them on, to the console or to Application Insights (``workers/proxy_worker/logging.py`` in
Azure/azure-functions-python-worker).
"""

import logging

# Of the worker, of the library that runs functions, and of the local stack's stand-in of the worker.
_LOGGERS = ("proxy_worker", "azure.functions", "azure_functions_runtime", "functions_worker")


def switch_off() -> None:
    """Keep warnings and errors only, unless somebody has chosen another level, as for debugging."""
    for logger in map(logging.getLogger, _LOGGERS):
        if logger.getEffectiveLevel() == logging.INFO:
            logger.setLevel(logging.WARNING)
