"""The command line of ``certificate``. What takes long to import is imported when it is needed."""

import argparse
import contextlib
import re
import signal
import sys
from collections.abc import Sequence

from devstack import up
from devstack.arguments import whole_number
from devstack.certificate.making import Kind
from devstack.errors import CommandError
from devstack.terminal import CLOSED, discard_output, print_error

HELP = "show, renew or let expire the FPGA service's certificate of a running stack"
DESCRIPTION = (
    "Watch the rotation of a certificate. All commands work with a running stack (`make run` in another terminal),"
    " through its Key Vault and its control plane, as an operator would."
)
_SHOW = (
    "Show the certificate in Key Vault, the one that the service presents in a TLS handshake, and those that gateways"
    " trust (the pins), and whether they agree."
)
_NEW = (
    "Issue a certificate by the development CA and store it in Key Vault, as a new version of the secret that the"
    " rotation watches. The rotation does the rest: within seconds it pins the new certificate beside the old one, has"
    " the control plane deploy it to the service, verifies that, and drops the old pin. With --wrong-key, --wrong-name,"
    " --self-signed or few --days, the rotation must refuse the certificate and change nothing."
)
_EXPIRE = (
    "Let the service present a certificate that is near its end, as if nobody had renewed it: issue one, store it in"
    " Key Vault as the latest version, pin it beside the present pins, wait until gateways have read them, and have the"
    " control plane deploy it to the service. From then on the rotation warns; after --seconds, open connections"
    " continue, but new ones fail, and the gateway reports why. `certificate new` ends this state, before or after."
)

# With less time left than this, there would be nothing to see.
_LEAST_SECONDS = 5
_MOST_SECONDS = 7 * 24 * 60 * 60


def add_options(certificate: argparse.ArgumentParser) -> None:
    """Add the command's actions and their options."""
    actions = certificate.add_subparsers(dest="action", metavar="ACTION")
    show = actions.add_parser(
        "show", help="show the certificates in Key Vault, in the service and in the pins", description=_SHOW
    )
    show.add_argument("--watch", action="store_true", help="go on, and print a line at each change, until Ctrl-C")
    new = actions.add_parser("new", help="put a new certificate into Key Vault", description=_NEW)
    _add_new(new)
    expire = actions.add_parser(
        "expire", help="let the service present a certificate near its end", description=_EXPIRE
    )
    expire.add_argument(
        "--seconds",
        type=whole_number(_LEAST_SECONDS, _MOST_SECONDS),
        default=300,
        metavar="N",
        help="how long it is valid, once the service presents it (default: %(default)s)",
    )
    for action in (show, new, expire):
        up.add_folder(action, "the folder of the running stack (default: %(default)s)")


def _add_new(new: argparse.ArgumentParser) -> None:
    new.add_argument(
        "--days",
        type=whole_number(1, 3650),
        default=90,
        metavar="N",
        help="how long it is valid (default: %(default)s)",
    )
    new.add_argument(
        "--seconds",
        type=whole_number(_LEAST_SECONDS, _MOST_SECONDS),
        metavar="N",
        help="how long it is valid instead: one that expires during its rotation",
    )
    kinds = new.add_mutually_exclusive_group()
    kinds.add_argument(
        "--names",
        nargs="+",
        type=_name,
        metavar="NAME",
        help="the host names and IP addresses that it is for (default: localhost 127.0.0.1 ::1)",
    )
    for option, kind, text in (
        ("--wrong-key", Kind.WRONG_KEY, "store it with the private key of another one"),
        ("--wrong-name", Kind.WRONG_NAME, "issue it for a name that is not the service's"),
        ("--self-signed", Kind.SELF_SIGNED, "sign it with its own key, not with the CA's"),
    ):
        kinds.add_argument(option, dest="kind", action="store_const", const=kind, default=Kind.VALID, help=text)


def main(options: argparse.Namespace, signals: Sequence[signal.Signals] = ()) -> int:
    """Run the command; returns the process's exit code. ``signals`` are those that end it."""
    # While the SDKs are imported, the signals still end the process at once: an import may swallow an exception.
    from devstack.certificate import actions  # noqa: PLC0415 - see the comment
    from devstack.certificate.running import RunningStack  # noqa: PLC0415 - see the comment

    for number in signals:
        signal.signal(number, _interrupt)
    try:
        with contextlib.closing(RunningStack(options.folder)) as running:
            match options.action:
                case "show":
                    actions.watch(running) if options.watch else actions.show(running)
                case "new":
                    actions.new(running, options)
                case "expire":
                    actions.expire(running, options.seconds)
    except KeyboardInterrupt:
        return _interrupted(watching=options.action == "show")
    except CommandError as error:
        print_error(error)
        return 1
    except OSError as error:
        if error.errno not in CLOSED:
            raise
        discard_output()
        return 1
    return 0


def _interrupt(number: int, _frame: object) -> None:
    # A second one must not interrupt the rest.
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    raise KeyboardInterrupt


def _interrupted(*, watching: bool) -> int:
    """The exit code after a Ctrl-C, which is the normal end of a watch alone."""
    if watching:
        if sys.stdout.isatty():
            print()  # after the terminal's ^C
        return 0
    print_error("Interrupted: `certificate show` shows what has been done so far.")
    return 130


def _name(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z*._:-]{1,253}", text):
        raise argparse.ArgumentTypeError(f"must be a host name or an IP address, not {text!r}")
    return text
