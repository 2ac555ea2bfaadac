"""The commands of ``python -m devstack``: parse the command line, and run the module of the command."""

import argparse
import signal
from collections.abc import Sequence

from devstack import certificate, fault, terminal, up


def main(arguments: Sequence[str] | None = None, signals: Sequence[signal.Signals] = ()) -> int:
    """Run a command; returns the process's exit code. ``signals`` are those that end it."""
    terminal.escape_unsupported_characters()
    options = parse(arguments)
    if options is None:
        return 0
    match options.command:
        case "up":
            return up.main(options, signals)
        case "certificate":
            return certificate.main(options, signals)
        case _:
            return fault.main(options)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace | None:
    """Parse the command line; without a command, print the help, and return None.

    Raises:
        SystemExit: with code 2, after a line that names the error.
    """
    parser = argparse.ArgumentParser(prog="python -m devstack", description="The gateway's local stack.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    up_parser = commands.add_parser("up", help=up.HELP, description=up.DESCRIPTION)
    up.add_options(up_parser)
    certificate_parser = commands.add_parser("certificate", help=certificate.HELP, description=certificate.DESCRIPTION)
    certificate.add_options(certificate_parser)
    fault.add_options(commands.add_parser("fault", help=fault.HELP, description=fault.DESCRIPTION))
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        # By the command's own parser, whose usage lists what there is.
        commands.choices.get(options.command, parser).error(f"unrecognized arguments: {' '.join(unknown)}")
    if options.command is None:
        parser.print_help()
        return None
    if options.command == "certificate" and options.action is None:
        certificate_parser.print_help()
        return None
    if options.command == "up":
        up.check(up_parser, options)
    options.folder = options.folder.expanduser().absolute()
    return options
