"""The vault as it is, and as it will be once the given secrets are stored."""

import time
from collections.abc import Callable, Iterator

from shared.credentials.key_vault import KeyVault
from shared.credentials.secrets import Secret
from shared.errors import GatewayError, SecretDisabled, SecretMissing, VaultForbidden
from shared.settings import Auth, ServiceSettings, Tls, Trust, VaultSettings
from tools.store_secrets.inputs import names

_PEM, _PKCS12 = "application/x-pem-file", "application/x-pkcs12"


class Secrets:
    """A service's secrets: those of the vault, and before them those that are given."""

    # _stored  what the vault has now, or why it cannot be read

    def __init__(self, settings: VaultSettings, service: ServiceSettings) -> None:
        self._vault = KeyVault(settings)
        self._service = service
        self._stored: dict[str, Secret | GatewayError] = {}
        self.given: dict[str, str] = {}

    def fetch(self) -> None:
        """Read what the vault has.

        Raises:
            GatewayError: the vault cannot be read at all; the cause.
        """
        for name in filter(None, names(self._service).values()):
            try:
                self._stored[name] = self._vault.read(name)
            except (SecretMissing, SecretDisabled) as absent:
                self._stored[name] = absent

    def read(self, name: str) -> Secret:
        """A secret as the gateway will find it.

        Raises:
            GatewayError: it will not find it.
        """
        if name in self.given:
            # The order is that in which they will be stored: the last one is tried first.
            return Secret(self.given[name], "given", time.time() + list(self.given).index(name))
        found = self._stored.get(name) or SecretMissing(f"Key Vault has no secret {name!r}.", secret=name)
        if isinstance(found, GatewayError):
            raise found
        return found

    def text(self, name: str) -> str:
        """The value of a secret; empty where there is none."""
        try:
            return self.read(name).value
        except (SecretMissing, SecretDisabled):
            return ""

    def with_key(self, key: str) -> Callable[[str], Secret]:
        """Reads as :meth:`read`, as though the service had this key alone: so each is seen to be accepted."""

        def read(name: str) -> Secret:
            if name == self._service.primary_key_secret:
                return self.read(key)
            if name == self._service.secondary_key_secret:
                raise SecretMissing(f"The key {key!r} is checked by itself.", secret=name)
            return self.read(name)

        return read

    def keys(self) -> list[str]:
        """The names of the keys that there will be; the primary first."""
        wanted = (self._service.primary_key_secret, self._service.secondary_key_secret)
        return [name for name in dict.fromkeys(wanted) if self.text(name)] if self.uses_keys else []

    @property
    def uses_keys(self) -> bool:
        return self._service.auth in {Auth.KEY, Auth.BEARER} and self._service.tls is Tls.REQUIRED

    @property
    def uses_pins(self) -> bool:
        return self._service.trust is not Trust.PUBLIC and self._service.tls is Tls.REQUIRED

    def differences(self) -> Iterator[tuple[str, str]]:
        """Each given secret, and what storing it changes."""
        for name, value in self.given.items():
            stored = self._stored.get(name)
            if isinstance(stored, Secret):
                yield name, "unchanged" if stored.value == value else "another value"
            else:
                yield name, "enabled again, by a new version" if isinstance(stored, SecretDisabled) else "new"

    def store(self) -> Iterator[str]:
        """Store what differs, and read it back; gives the names of what was stored.

        Raises:
            GatewayError: one cannot be stored; the cause.
        """
        for name, change in self.differences():
            if change == "unchanged":
                continue
            value = self.given[name]
            try:
                written = self._vault.write(name, value, content_type=_content_type(value))
            except VaultForbidden as error:
                error.detail = f"{error.detail} To write, your own identity needs the role 'Key Vault Secrets Officer'."
                raise
            if self._vault.read(name, written.id).value != value:
                raise SecretMissing(f"Key Vault does not return what was stored as {name!r}.", secret=name)
            yield name

    def close(self) -> None:
        self._vault.close()


def _content_type(value: str) -> str:
    if "-----BEGIN" in value:
        return _PEM
    return _PKCS12 if len(value) > 1_000 else ""
