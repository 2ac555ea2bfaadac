"""Run a local Key Vault: ``python -m devstack.vault --folder DIR --port N ...`` (``--help`` lists the options)."""

import argparse
import functools
import sys
from collections.abc import Sequence

from devstack.rest.command import open_state, run, server_parser
from devstack.tokens import read_signing_key
from devstack.vault.store import MAX_RETENTION_DAYS, MIN_RETENTION_DAYS, VaultStore


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns the process's exit code."""
    parser = server_parser("devstack.vault", "A local Key Vault of secrets.")
    parser.add_argument(
        "--retention-days",
        type=int,
        choices=range(MIN_RETENTION_DAYS, MAX_RETENTION_DAYS + 1),
        metavar=f"{MIN_RETENTION_DAYS}..{MAX_RETENTION_DAYS}",
        default=MAX_RETENTION_DAYS,
        help="how long a deleted secret can be recovered (default: %(default)s)",
    )
    return run(parser, arguments, _serve)


def _serve(options: argparse.Namespace) -> None:
    from devstack.rest.serving import HOST, serve, tls_context  # noqa: PLC0415 - takes long: see run()
    from devstack.vault.app import VaultApp  # noqa: PLC0415 - takes long: see run()

    key = read_signing_key(options.signing_key)
    tls = tls_context(options.certificate, options.key)
    store = open_state(functools.partial(VaultStore, retention_days=options.retention_days), options.folder, "vault")
    serve(
        lambda stopping: VaultApp(store, key, stopping=stopping, tenant=options.tenant).asgi(),
        name="vault",
        port=options.port,
        address=lambda port: f"https://{HOST}:{port}",
        tls=tls,
    )


if __name__ == "__main__":
    sys.exit(main())
