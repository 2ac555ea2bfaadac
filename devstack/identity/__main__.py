"""Run the managed-identity endpoint: ``python -m devstack.identity --port N ...`` (``--help`` lists the options).

The secret that callers send as X-IDENTITY-HEADER is in IDENTITY_HEADER of the environment: other users of the machine
can see a process's arguments. The ready line ends with the value for ``IDENTITY_ENDPOINT``.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from devstack.arguments import whole_number
from devstack.errors import CommandError
from devstack.rest.command import run, server_parser
from devstack.tokens import DAY, read_signing_key


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns the process's exit code."""
    parser = server_parser("devstack.identity", "A local managed-identity endpoint of App Service.", tls=False)
    add = parser.add_argument
    seconds = whole_number(1)
    add("--lifetime", type=seconds, default=DAY, metavar="SECONDS", help="of a token (default: %(default)s)")
    return run(parser, arguments, _serve)


def _serve(options: argparse.Namespace) -> None:
    from devstack.identity.app import TOKEN_PATH, IdentityApp, Issuer  # noqa: PLC0415 - takes long: see run()
    from devstack.rest.serving import HOST, serve  # noqa: PLC0415 - takes long: see run()

    header = os.environ.get("IDENTITY_HEADER", "")
    if not header:
        raise CommandError("no identity header: set IDENTITY_HEADER to the secret that callers send")
    issuer = Issuer(read_signing_key(options.signing_key), header, options.tenant, options.lifetime)
    serve(
        lambda _stopping: IdentityApp(issuer).asgi(),
        name="identity",
        port=options.port,
        address=lambda port: f"http://{HOST}:{port}{TOKEN_PATH}",
    )


if __name__ == "__main__":
    sys.exit(main())
