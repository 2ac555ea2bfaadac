"""A stack that runs, for somebody who works with it: its Key Vault and control plane by their clients, and a handshake.

The one thing that nobody else has is the key that access tokens are signed with, in place of a sign-in.
"""

import datetime as dt
import os
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError
from azure.keyvault.secrets import SecretClient
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from devstack import announcement, stack, tokens
from devstack.announcement import NoStack
from devstack.authority import Authority, Issued
from devstack.certificate.errors import CommandFailed
from devstack.certificate.view import Secret, View, view
from devstack.state import PEM, SERVICE, State
from shared.errors import Misconfigured, SecretDisabled, SecretMissing, VaultUnreachable
from shared.fpga.deployment_client import DeploymentClient
from shared.fpga.deployment_errors import DeploymentError
from shared.fpga.deployment_types import ServerCertificate
from shared.settings import RotationSettings, ServiceSettings, Settings, load
from shared.trust.judge import Demands
from shared.trust.vault import cause

# Seconds.
_HANDSHAKE = 5.0
_UPDATE = 60.0

_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)


class RunningStack:
    """The running stack of a folder; use it in a ``with``.

    Raises:
        NoStack: none runs. CommandFailed: its settings cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        addresses = announcement.find(folder)
        state = State(folder / "state")
        values = stack.settings()
        settings = _settings(values, stack.environment(addresses, state.ca))
        self.service: ServiceSettings = settings.services[SERVICE]
        self.rotation = settings.rotation or RotationSettings("", "", "")
        self.schedule = values.get("ROTATION_SCHEDULE", "")
        self.refresh_seconds = settings.vault.refresh_seconds if settings.vault else 0.0
        try:
            self.authority = Authority.load(state.folder)
            credential = _Credential(tokens.read_signing_key(state.signing_key))
        except (OSError, ValueError) as error:
            raise CommandFailed(
                f"The state of the stack cannot be used ({error}): stop it, and start it again"
            ) from None
        self._host, _, port = addresses.fpga.rpartition(":")
        self._port = int(port)
        self._vault = SecretClient(
            addresses.vault,
            credential,
            connection_verify=str(state.ca),
            verify_challenge_resource=False,
            retry_total=0,
        )
        self._control = DeploymentClient(
            stack.account(values), credential, arm_endpoint=addresses.control, ca_file=str(state.ca)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._vault.close()
        self._control.close()

    @property
    def demands(self) -> Demands:
        """What the rotation demands of a certificate."""
        names, rotation = self.service.certificate_names, self.rotation
        return Demands(names, rotation.least_valid_days, rotation.allow_self_signed)

    def look(self) -> View:
        """See what there is now.

        Raises:
            NoStack: Key Vault does not answer. CommandFailed: it refuses to.
        """
        names = (self.service.certificate_secret, self.service.pins_secret)
        certificate, pins = (Secret(name, self._read(name)) for name in names)
        return view(certificate, pins, self._presented(), self.demands, dt.datetime.now(dt.UTC))

    def store(self, issued: Issued) -> None:
        """Put a certificate with its key into Key Vault, as the latest version.

        Raises:
            NoStack, CommandFailed: as for :meth:`look`.
        """
        self._write(self.service.certificate_secret, issued.key + issued.chain)

    def pin(self, certificates: Sequence[x509.Certificate]) -> None:
        """Have gateways trust these, and no others.

        Raises:
            NoStack, CommandFailed: as for :meth:`look`.
        """
        bundle = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)
        self._write(self.service.pins_secret, bundle)

    def deploy(self, issued: Issued) -> None:
        """Have the control plane give the service a certificate, and wait for it.

        Raises:
            CommandFailed: it does not, for the reason that it gives.
        """
        name = self.service.control_plane_name or SERVICE
        try:
            found = self._control.get_service_by_name(name)
            if found is None:
                raise CommandFailed(
                    f"The control plane has no service {name}: start the stack again, which makes it anew"
                )
            certificate = ServerCertificate(issued.chain.decode(), issued.key.decode())
            self._control.update_service(found.id, certificate=certificate, deadline=_UPDATE)
        except DeploymentError as error:
            raise CommandFailed(f"The service's certificate is as it was: {error}") from None

    def _presented(self) -> x509.Certificate | None:
        """What the service presents in a handshake, whether it is trusted or not."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        try:
            with (
                socket.create_connection((self._host, self._port), timeout=_HANDSHAKE) as plain,
                context.wrap_socket(plain) as encrypted,
            ):
                presented = encrypted.getpeercert(binary_form=True)
        except OSError:
            return None
        return x509.load_der_x509_certificate(presented) if presented else None

    def _read(self, name: str) -> str | None:
        """The latest enabled version of a secret; None where there is none."""
        try:
            try:
                return self._vault.get_secret(name).value
            except AzureError as error:
                if not isinstance(cause(error, name), SecretDisabled):
                    raise
            enabled = [each for each in self._vault.list_properties_of_secret_versions(name) if each.enabled]
            # Of several of one second, which Key Vault does not tell apart, the one that the rotation takes too.
            latest = max(enabled, key=lambda each: (each.created_on or _LONG_AGO, each.version or ""), default=None)
            return self._vault.get_secret(name, latest.version).value if latest else None
        except AzureError as error:
            if isinstance(cause(error, name), SecretMissing):
                return None
            raise self._failed(error, name) from None

    def _write(self, name: str, pem: bytes) -> None:
        try:
            self._vault.set_secret(name, pem.decode(), content_type=PEM)
        except AzureError as error:
            raise self._failed(error, name) from None

    def _failed(self, error: AzureError, name: str) -> Exception:
        failure = cause(error, name)
        # What has no status has no answer: the file that says where the stack listens is a killed one's.
        if isinstance(failure, VaultUnreachable) and getattr(error, "status_code", None) is None:
            return NoStack(self.folder, "No stack answers any more")
        return CommandFailed(failure.detail)


class _Credential:
    """Gives tokens for whatever is asked for."""

    def __init__(self, signing_key: bytes) -> None:
        self._key = signing_key

    def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
        token = tokens.issue(self._key, resource=scopes[0].removesuffix("/.default"), now=time.time())
        return AccessToken(token.value, token.expires_on)


def _settings(values: Mapping[str, str], addresses: Mapping[str, str]) -> Settings:
    """The gateway's settings, as its host has them: a variable of the environment wins over the file."""
    given = {name: os.environ[name] for name in values if name in os.environ}
    try:
        settings = load({**values, **given, **addresses})
    except Misconfigured as error:
        raise CommandFailed(f"The settings cannot be used: {error.detail}") from None
    if SERVICE not in settings.services:
        raise CommandFailed(f"The settings describe no service {SERVICE}: name it in SERVICES again")
    return settings
