"""The commands of ``python -m devstack``: read the command line, and hand over to the module of the command."""

import argparse
import signal
from collections.abc import Sequence

from devstack import certificate, terminal, up


def main(arguments: Sequence[str] | None = None, signals: Sequence[signal.Signals] = ()) -> int:
    """Run a command; returns the process's exit code. ``signals`` are those that end it."""
    terminal.spell_out_what_it_cannot_show()
    options = parse(arguments)
    if options is None:
        return 0
    if options.command == "up":
        return up.main(options, signals)
    return certificate.main(options, signals)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace | None:
    """Read the command line; without a command, print the help, and return None.

    Raises:
        SystemExit: with code 2, after a line that says what is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m devstack", description="The gateway's local stack.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    starting = commands.add_parser("up", help=up.HELP, description=up.DESCRIPTION)
    up.add_options(starting)
    certifying = commands.add_parser("certificate", help=certificate.HELP, description=certificate.DESCRIPTION)
    certificate.add_options(certifying)
    options = parser.parse_args(arguments)
    if options.command == "up":
        up.check(starting, options)
    elif options.command == "certificate" and options.action is None:
        certifying.print_help()
        return None
    elif options.command is None:
        parser.print_help()
        return None
    options.folder = options.folder.expanduser().absolute()
    return options
