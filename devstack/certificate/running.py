"""The running stack as an operator reaches it: its Key Vault and control plane through their clients, and a handshake.

In place of a sign-in, this process signs its own access tokens, with the key in the stack's folder.
"""

import datetime as dt
import os
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError
from azure.keyvault.secrets import SecretClient
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from devstack import announcement, stack, tokens
from devstack.announcement import NoStack
from devstack.authority import Authority, Issued
from devstack.certificate.view import Secret, View, view
from devstack.errors import CommandError
from devstack.state import PEM, SERVICE, State
from shared.control_plane.client import DeploymentClient
from shared.control_plane.types import ServerCertificate
from shared.credentials.key_vault import cause
from shared.errors import GatewayError, Misconfigured, SecretDisabled, SecretMissing, VaultUnreachable
from shared.rotation.validate import Requirements
from shared.settings import RotationSettings, ServiceSettings, Settings, load

# Seconds.
_HANDSHAKE = 5.0
_UPDATE = 60.0

_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)


class RunningStack:
    """The running stack of a folder.

    Raises:
        NoStack: none runs.
        CommandError: its settings or its state cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        addresses = announcement.find(folder)
        state = State(folder / "state")
        values = stack.settings()
        settings = _settings(values, stack.environment(addresses, state))
        self.service: ServiceSettings = settings.services[SERVICE]
        self.rotation = settings.rotation or RotationSettings("", "", "")
        self.schedule = values.get("ROTATION_SCHEDULE", "")
        self.refresh_seconds = settings.vault.refresh_seconds if settings.vault else 0.0
        try:
            self.authority = Authority.load(state.folder)
            credential = _Credential(tokens.read_signing_key(state.signing_key))
        except (OSError, ValueError) as error:
            raise CommandError(
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

    def close(self) -> None:
        self._vault.close()
        self._control.close()

    @property
    def requirements(self) -> Requirements:
        """What the rotation requires of a certificate."""
        names, rotation = self.service.certificate_names, self.rotation
        return Requirements(names, rotation.least_valid_days, rotation.allow_self_signed)

    def observe(self) -> View:
        """Read the certificates that are in Key Vault, in the service and in the pins now.

        Raises:
            NoStack: Key Vault does not respond.
            CommandError: it responds with an error.
        """
        names = (self.service.certificate_secret, self.service.pins_secret)
        certificate, pins = (Secret(name, self._read(name)) for name in names)
        return view(certificate, pins, self._presented(), self.requirements, dt.datetime.now(dt.UTC))

    def store(self, issued: Issued) -> None:
        """Put a certificate with its key into Key Vault, as the latest version.

        Raises:
            NoStack, CommandError: as for :meth:`observe`.
        """
        self._write(self.service.certificate_secret, issued.key + issued.chain)

    def pin(self, certificates: Sequence[x509.Certificate]) -> None:
        """Make gateways trust these certificates, and no others.

        Raises:
            NoStack, CommandError: as for :meth:`observe`.
        """
        bundle = b"".join(pin.public_bytes(serialization.Encoding.PEM) for pin in certificates)
        self._write(self.service.pins_secret, bundle)

    def deploy(self, issued: Issued) -> None:
        """Have the control plane deploy a certificate to the service, and wait for the end of that.

        Raises:
            CommandError: it fails.
        """
        name = self.service.control_plane_name or SERVICE
        try:
            found = self._control.get_service_by_name(name)
            if found is None:
                raise CommandError(f"The control plane has no service {name}: restart the stack, which creates it")
            certificate = ServerCertificate(issued.chain.decode(), issued.key.decode())
            self._control.update_service(found.id, certificate=certificate, deadline=_UPDATE)
        except GatewayError as error:
            raise CommandError(f"The service's certificate is unchanged: {error.detail}") from None

    def _presented(self) -> x509.Certificate | None:
        """The certificate that the service presents in a handshake, trusted or not."""
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
        """The value of the latest enabled version of a secret; None where there is none."""
        try:
            try:
                return self._vault.get_secret(name).value
            except AzureError as error:
                if not isinstance(cause(error, name), SecretDisabled):
                    raise
            enabled = [found for found in self._vault.list_properties_of_secret_versions(name) if found.enabled]
            # Key Vault dates versions by whole seconds: of those of one second, the rotation takes the same one.
            latest = max(enabled, key=lambda found: (found.created_on or _LONG_AGO, found.version or ""), default=None)
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
        # An error without a status is no response: a killed stack left the file with its addresses.
        if isinstance(failure, VaultUnreachable) and getattr(error, "status_code", None) is None:
            return NoStack(self.folder, "No stack responds any more")
        return CommandError(failure.detail)


class _Credential:
    """Signs access tokens for any resource."""

    def __init__(self, signing_key: bytes) -> None:
        self._key = signing_key

    def get_token(self, *scopes: str, **_options: Any) -> AccessToken:
        token = tokens.issue(self._key, resource=scopes[0].removesuffix("/.default"), now=time.time())
        return AccessToken(token.value, token.expires_on)


def _settings(values: Mapping[str, str], addresses: Mapping[str, str]) -> Settings:
    """The gateway's settings, as its host has them: variables of the environment take precedence over the file."""
    given = {name: os.environ[name] for name in values if name in os.environ}
    try:
        settings = load({**values, **given, **addresses})
    except Misconfigured as error:
        raise CommandError(f"The settings cannot be used: {error.detail}") from None
    if SERVICE not in settings.services:
        raise CommandError(f"The settings describe no service {SERVICE}: add it to SERVICES again")
    return settings
