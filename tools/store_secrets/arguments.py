"""The command line: which service, which vault, which secrets."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Misconfigured

_SHA256 = re.compile("[0-9a-f]{64}")

_DESCRIPTION = """\
Checks the secrets of an inference service as the gateway will use them: the service is reachable, its certificate is
trusted, each key is accepted, the model is the one that the settings describe, an image is scored. With --write it
then stores them in Key Vault, and prints the app settings. Without, nothing is changed anywhere.
"""
_EPILOG = """\
examples:
  python -m tools.store_secrets imagenet --vault my-vault --set ADDRESS=fpga.example.com --ask-keys --pins service.pem
  python -m tools.store_secrets --vault my-vault --settings infra/main.parameters.json --ask-keys --pin 3f8a... --write
  python -m tools.store_secrets --settings local.settings.json --identity managed imagenet
    (with a local stack in another terminal, after export IDENTITY_HEADER="$(cat .devstack/state/identity.key)")

Secrets are read from a prompt or from files (- is the standard input), never from the command line, and never printed.
The identity is your own sign-in (az login), which needs the role 'Key Vault Secrets Officer' to write.
The exit code is 0 where all is well, 1 where a check or a write failed, 2 where the command line is wrong.
"""


class WrongCommand(Misconfigured):
    """What the command line names cannot be used."""

    title = "The command cannot start"
    remedy = "Correct the command line: --help describes it."


@dataclass(frozen=True)
class Options:
    """What the command line asks for; ``service`` is empty where the settings have one alone."""

    service: str
    vault: str
    settings: Path | None
    set: tuple[tuple[str, str], ...]
    identity: str
    ask_keys: bool
    files: dict[str, str]
    pin: str
    image: Path | None
    write: bool
    check: bool


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; a wrong one ends the process with code 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if not given.check and not given.write:
        parser.error("--no-check is for --write: otherwise there is nothing to do")
    kinds = ("primary_key", "secondary_key", "pins", "client_certificate", "certificate")
    files = {kind: path for kind in kinds if (path := getattr(given, kind))}
    if given.ask_keys and files.keys() & {"primary_key", "secondary_key"}:
        parser.error("--ask-keys and a file with a key exclude each other")
    if list(files.values()).count("-") > 1:
        parser.error("the standard input can be read once only")
    return Options(
        given.service,
        given.vault,
        given.settings,
        tuple(given.set),
        given.identity,
        given.ask_keys,
        files,
        given.pin or "",
        given.image,
        given.write,
        given.check,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tools.store_secrets",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "service", nargs="?", default="", help="name of the service; may be left out where SERVICES has one"
    )
    where = parser.add_argument_group("where")
    where.add_argument("--vault", default="", metavar="NAME", help="name or address of the vault; else KEY_VAULT_URL")
    where.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="settings from a file: local.settings.json, a Bicep parameter file, or a JSON object of names and values",
    )
    where.add_argument(
        "--set",
        type=_pair,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the service without its prefix, as ADDRESS=fpga.example.com; repeatable, wins over the file",
    )
    where.add_argument(
        "--identity",
        choices=("default", "managed"),
        default="default",
        help="default: your own sign-in; managed: a managed identity of this machine",
    )
    what = parser.add_argument_group("secrets", "What is not given is taken from the vault.")
    what.add_argument("--ask-keys", action="store_true", help="ask for both keys; an empty one is left as it is")
    what.add_argument("--primary-key", metavar="FILE", help="file with the primary key")
    what.add_argument("--secondary-key", metavar="FILE", help="file with the secondary key")
    what.add_argument("--pins", metavar="FILE", help="PEM certificates to trust: the service's own or its authority's")
    what.add_argument(
        "--pin",
        type=_fingerprint,
        metavar="SHA256",
        help="also trust the certificate that the service presents, if this is its fingerprint: take it from the "
        "service's owner, not from this command's output",
    )
    what.add_argument("--client-certificate", metavar="FILE", help="client certificate with its key, PEM or PKCS#12")
    what.add_argument("--certificate", metavar="FILE", help="certificate to rotate the service to, with its key")
    how = parser.add_argument_group("how")
    how.add_argument("--image", type=Path, metavar="FILE", help="photograph to score; else a grey picture")
    how.add_argument("--write", action="store_true", help="store the secrets if all checks succeed")
    how.add_argument(
        "--no-check",
        dest="check",
        action="store_false",
        help="store without calling the service, where only Azure reaches it",
    )
    return parser


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise argparse.ArgumentTypeError("KEY=VALUE is expected, as in ADDRESS=fpga.example.com")
    return key, value


def _fingerprint(text: str) -> str:
    digits = text.replace(":", "").strip().lower()
    if not _SHA256.fullmatch(digits):
        raise argparse.ArgumentTypeError(
            f"a whole SHA-256 fingerprint, 64 hexadecimal digits, is expected, not {text!r}"
        )
    return digits
