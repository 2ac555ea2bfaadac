"""``python -m devstack fault``: a part of a running stack fails, as its outages are rehearsed."""

import argparse
import json
import ssl
import time
from collections.abc import Mapping
from typing import Any

from devstack import announcement, tokens, up
from devstack.errors import CommandError
from devstack.stack import MANAGEMENT, Addresses
from devstack.state import SERVICE, State
from devstack.terminal import print_error

HELP = "make a part of a running stack fail, or end that"
DESCRIPTION = (
    "Make a part of a running stack fail, until the same command without a fault. A fault is a JSON object; the"
    " docstrings of devstack/vault/faults.py, devstack/control/faults.py and devstack/fpga/faults.py list them."
)
EPILOG = """examples:
  %(prog)s vault '{"mode": "hang"}'
  %(prog)s control-plane '{"mode": "slow", "delay": 30}'
  %(prog)s service '{"fail_next": 20, "fail_with": "UNAUTHENTICATED"}'
  %(prog)s service
"""

VAULT, CONTROL, FPGA = "vault", "control-plane", "service"
_VAULT_AUDIENCE = "https://vault.azure.net"
_SECONDS = 10.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("part", choices=(VAULT, CONTROL, FPGA), help="what fails; service: the FPGA service")
    parser.add_argument("fault", nargs="?", type=_fault, metavar="JSON", help="how; left out, all of its faults end")
    up.add_folder(parser, "the folder of the running stack (default: %(default)s)")


def main(options: argparse.Namespace) -> int:
    """Run the command; returns the process's exit code."""
    try:
        addresses, state = announcement.find(options.folder), State(options.folder / "state")
        try:
            print(json.dumps(set_fault(addresses, state, options.part, options.fault)))
        except ConnectionError as error:
            raise announcement.NoStack(options.folder, f"No {options.part} responds ({error})") from None
    except CommandError as error:
        print_error(error)
        return 1
    return 0


def set_fault(addresses: Addresses, state: State, part: str, fault: Mapping[str, Any] | None) -> Any:
    """Start a fault of a part of the stack, or end all of them; returns what the part says of its faults.

    Raises:
        ConnectionError: the part does not respond.
        CommandError: it refuses the fault, or the stack's state cannot be used.
    """
    import httpx  # noqa: PLC0415 - slow to import, for a command line that may be wrong

    address, audience, path, body = addresses.control, MANAGEMENT, "/_devstack/faults", fault
    if part == VAULT:
        address, audience = addresses.vault, _VAULT_AUDIENCE
    elif part == FPGA:
        path, body = f"/_devstack/services/{SERVICE}", fault and {"faults": fault}
    try:
        token = tokens.issue(tokens.read_signing_key(state.signing_key), resource=audience, now=time.time())
        trusted = ssl.create_default_context(cafile=str(state.ca))
        with httpx.Client(base_url=address, verify=trusted, trust_env=False, timeout=_SECONDS) as client:
            method, header = "PUT" if fault else "DELETE", {"Authorization": f"Bearer {token.value}"}
            answer = client.request(method, path, json=body, headers=header)
    except OSError as error:
        raise CommandError(f"The state of the stack cannot be used ({error}): start it again") from None
    except httpx.HTTPError as error:
        raise ConnectionError(str(error)) from None
    document = answer.json()
    if not answer.is_success:
        why = document.get("error", document)
        raise CommandError(f"The fault is refused: {why.get('message', why) if isinstance(why, dict) else why}")
    return document.get("faults", document)


def _fault(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not document:
        raise argparse.ArgumentTypeError(f"must be a JSON object with a fault, not {text!r}")
    return document
