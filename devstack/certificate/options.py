"""The command line of ``certificate``. What takes long to import is imported when it is needed."""

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from devstack import stack
from devstack.announcement import NoStack
from devstack.certificate.errors import CommandFailed
from devstack.supervisor import StackFailed
from devstack.terminal import NOBODY_READS, complain, discard_output

HELP = "show, renew or let expire the FPGA service's certificate of a running stack"
DESCRIPTION = (
    "Watch a certificate's rotation happen. All commands work with a stack that runs (`make run` in another terminal),"
    " through its Key Vault and its control plane, as anyone would."
)
_NEW = (
    "Issue a certificate by the development CA and store it in Key Vault, as a new version of the secret that the"
    " rotation watches. The rest is the rotation's: within seconds it pins the new certificate beside the old one, has"
    " the control plane give it to the service, verifies that, and drops the old pin. With --wrong-key, --wrong-name or"
    " --self-signed, or few --days, it is one that the rotation must refuse without touching anything."
)
_EXPIRE = (
    "Let the service present a certificate that is near its end, as if nobody had renewed it: issue one, store it in"
    " Key Vault as the latest version, pin it beside what is pinned, wait until gateways have read that, and have the"
    " control plane give it to the service. From then on the rotation warns; after --seconds, connections that are open"
    " go on, but no new one succeeds, and the gateway says why. `certificate new` puts it right, before or after."
)

# The least that a certificate may have left when the service presents it: shorter, there would be nothing to see.
_LEAST_SECONDS = 5
_MOST_SECONDS = 7 * 24 * 60 * 60


def add_options(certificate: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--state",
        dest="folder",
        type=Path,
        default=stack.FOLDER,
        metavar="DIR",
        help="the folder of the running stack (default: %(default)s)",
    )
    actions = certificate.add_subparsers(dest="action", metavar="ACTION")
    show = actions.add_parser(
        "show",
        parents=[common],
        help="show what Key Vault holds, what the service presents, and what gateways trust",
        description="Show the certificate that Key Vault holds, the one that the service presents in a TLS handshake,"
        " and those that gateways trust (the pins); and say whether they agree.",
    )
    show.add_argument("--watch", action="store_true", help="go on, and print a line at each change, until Ctrl-C")
    _add_new(actions.add_parser("new", parents=[common], help="put a new certificate into Key Vault", description=_NEW))
    expire = actions.add_parser(
        "expire", parents=[common], help="let the service present a certificate near its end", description=_EXPIRE
    )
    expire.add_argument(
        "--seconds",
        type=_seconds,
        default=300,
        metavar="N",
        help="how long it is valid, once the service presents it (default: %(default)s)",
    )


def _add_new(new: argparse.ArgumentParser) -> None:
    new.add_argument("--days", type=_days, default=90, metavar="N", help="how long it is valid (default: %(default)s)")
    kinds = new.add_mutually_exclusive_group()
    kinds.add_argument(
        "--names",
        nargs="+",
        type=_name,
        metavar="NAME",
        help="the host names and IP addresses that it is for (default: localhost 127.0.0.1 ::1)",
    )
    kinds.add_argument("--wrong-key", action="store_true", help="store it with the private key of another one")
    kinds.add_argument("--wrong-name", action="store_true", help="issue it for a name that is not the service's")
    kinds.add_argument("--self-signed", action="store_true", help="let it be signed by itself, and not by the CA")


def main(options: argparse.Namespace, signals: Sequence[signal.Signals] = ()) -> int:
    """Run the command; returns the process's exit code. ``signals`` are those that end it."""
    # While the SDKs are imported, the signals still end the process at once: an import may swallow an exception.
    from devstack.certificate import actions  # noqa: PLC0415 - see the comment
    from devstack.certificate.running import RunningStack  # noqa: PLC0415 - see the comment

    for number in signals:
        signal.signal(number, _interrupt)
    try:
        with RunningStack(options.folder) as running:
            match options.action:
                case "show":
                    actions.watch(running) if options.watch else actions.show(running)
                case "new":
                    actions.new(running, options)
                case "expire":
                    actions.expire(running, options.seconds)
    except KeyboardInterrupt:
        return _interrupted(watching=options.action == "show")
    except (NoStack, StackFailed, CommandFailed) as error:
        complain(error)
        return 1
    except OSError as error:
        if error.errno not in NOBODY_READS:
            raise
        discard_output()
        return 1
    return 0


def _interrupt(number: int, _frame: object) -> None:
    # An impatient second one is not to spoil what is left to do.
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    raise KeyboardInterrupt


def _interrupted(*, watching: bool) -> int:
    """The exit code after a Ctrl-C, which is how a watch ends, and not how the others should."""
    if watching:
        if sys.stdout.isatty():
            print()  # behind the terminal's ^C
        return 0
    complain("Interrupted: `certificate show` tells what has been done so far.")
    return 130


def _days(text: str) -> int:
    return _whole(text, 1, 3650)


def _seconds(text: str) -> int:
    return _whole(text, _LEAST_SECONDS, _MOST_SECONDS)


def _whole(text: str, lowest: int, highest: int) -> int:
    if not (text.isascii() and text.isdecimal() and lowest <= int(text) <= highest):
        raise argparse.ArgumentTypeError(f"must be a whole number from {lowest} to {highest}, not {text!r}")
    return int(text)


def _name(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z*._:-]{1,253}", text):
        raise argparse.ArgumentTypeError(f"must be a host name or an IP address, not {text!r}")
    return text
