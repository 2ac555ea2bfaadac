"""Run a local Key Vault: ``python -m devstack.vault --folder DIR --port N ...`` (``--help`` tells the rest)."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from devstack.tokens import TENANT, read_signing_key
from devstack.vault.errors import DamagedStore
from devstack.vault.store import MAX_RETENTION_DAYS, MIN_RETENTION_DAYS, VaultStore


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns the process's exit code."""
    # Until the server listens for these itself: Ctrl-C while the libraries load is no error either.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    options = _parser().parse_args(arguments)
    # Late, so that the line above covers the half second that they take to load.
    from devstack.serving import HOST, StartError, serve, tls_context  # noqa: PLC0415 - see the comment
    from devstack.vault.app import VaultApp  # noqa: PLC0415 - see the comment

    try:
        key = read_signing_key(options.signing_key)
        tls = tls_context(options.certificate, options.key)
        store = _open(options.folder, options.retention_days)
        serve(
            lambda stopping: VaultApp(store, key, stopping=stopping, tenant=options.tenant).asgi(),
            name="vault",
            port=options.port,
            address=lambda port: f"https://{HOST}:{port}",
            tls=tls,
        )
    except (StartError, DamagedStore, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _open(folder: Path, retention_days: int) -> VaultStore:
    try:
        return VaultStore(folder, retention_days=retention_days)
    except OSError as error:
        raise ValueError(
            f"cannot use {error.filename or folder} for the vault: {error.strerror}; pass a --folder you can write"
        ) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m devstack.vault", description="A local Key Vault of secrets.")
    parser.add_argument("--folder", type=Path, required=True, help="where the secrets are kept; made if missing")
    parser.add_argument(
        "--port",
        type=int,
        choices=range(65536),
        metavar="N",
        required=True,
        help="TLS port on the loopback address; 0 takes a free one",
    )
    parser.add_argument("--certificate", type=Path, required=True, help="PEM chain to serve TLS with, leaf first")
    parser.add_argument("--key", type=Path, required=True, help="PEM private key of the leaf")
    parser.add_argument(
        "--signing-key", type=Path, required=True, help="raw key (32 bytes or more) that access tokens are signed with"
    )
    parser.add_argument("--tenant", default=TENANT, help="tenant whose tokens are accepted (default: %(default)s)")
    parser.add_argument(
        "--retention-days",
        type=int,
        choices=range(MIN_RETENTION_DAYS, MAX_RETENTION_DAYS + 1),
        metavar=f"{MIN_RETENTION_DAYS}..{MAX_RETENTION_DAYS}",
        default=MAX_RETENTION_DAYS,
        help="how long a deleted secret can be recovered (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
