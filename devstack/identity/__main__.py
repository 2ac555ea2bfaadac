"""Run the managed-identity endpoint: ``python -m devstack.identity --port N ...`` (``--help`` tells the rest).

The ready line ends with what ``IDENTITY_ENDPOINT`` must hold.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from devstack.tokens import DAY, TENANT, read_signing_key


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns the process's exit code."""
    # Until the server listens for these itself: Ctrl-C while the libraries load is no error either.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    options = _parser().parse_args(arguments)
    # Late, so that the line above covers the half second that they take to load.
    from devstack.identity.app import TOKEN_PATH, Issuer, build  # noqa: PLC0415 - see the comment
    from devstack.serving import HOST, StartError, serve  # noqa: PLC0415 - see the comment

    try:
        issuer = Issuer(
            key=read_signing_key(options.signing_key),
            header=_header(options.header),
            tenant=options.tenant,
            lifetime=options.lifetime,
        )
        serve(
            lambda _stopping: build(issuer),
            name="identity",
            port=options.port,
            address=lambda port: f"http://{HOST}:{port}{TOKEN_PATH}",
        )
    except (StartError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _header(given: str | None) -> str:
    header = given or os.environ.get("IDENTITY_HEADER", "")
    if not header:
        raise ValueError("no identity header: pass --header VALUE, or set IDENTITY_HEADER")
    return header


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devstack.identity", description="A local managed-identity endpoint of App Service."
    )
    parser.add_argument(
        "--port",
        type=int,
        choices=range(65536),
        metavar="N",
        required=True,
        help="port on the loopback address; 0 takes a free one",
    )
    parser.add_argument(
        "--signing-key", type=Path, required=True, help="raw key (32 bytes or more) to sign access tokens with"
    )
    parser.add_argument(
        "--header", help="secret that callers send as X-IDENTITY-HEADER (default: IDENTITY_HEADER of the environment)"
    )
    parser.add_argument("--tenant", default=TENANT, help="tenant that the tokens name (default: %(default)s)")
    parser.add_argument(
        "--lifetime", type=_seconds, default=DAY, metavar="SECONDS", help="of a token (default: %(default)s)"
    )
    return parser


def _seconds(text: str) -> int:
    seconds = int(text)
    if seconds < 1:
        raise ValueError
    return seconds


if __name__ == "__main__":
    sys.exit(main())
