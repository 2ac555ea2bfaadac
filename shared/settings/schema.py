"""The settings that belong to no single service, as schemas: Key Vault, rotation, the limits of a request.

``docs/reference/settings.md`` is generated from these and from ``service.py``. Standard library only: this module is
imported at every cold start.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from shared.settings.reader import (
    FILE,
    FLAG,
    TEXT,
    choice,
    https,
    required,
    seconds,
    setting,
    whole,
)
from shared.settings.service import ServiceSettings
from shared.settings.telemetry import TelemetrySettings
from shared.settings.traffic import SplitSettings

_A_MONTH = 30 * 86_400


class IdentityKind(StrEnum):
    """How the gateway authenticates to Key Vault."""

    MANAGED = "managed"
    # azure-identity's DefaultAzureCredential: for a developer's own sign-in; slow where there is none.
    DEFAULT = "default"


@dataclass(frozen=True)
class VaultSettings:
    """Key Vault and the identity that reads it."""

    url: str = setting(
        "KEY_VAULT_URL",
        https(example="as in https://my-vault.vault.azure.net"),
        "",
        "the vault, as in `https://my-vault.vault.azure.net`",
    )
    identity: IdentityKind = setting(
        "KEY_VAULT_IDENTITY",
        choice(IdentityKind),
        IdentityKind.MANAGED,
        "`managed`: the function app's identity; `default`: azure-identity's chain, for your own sign-in",
    )
    client_id: str = setting("MANAGED_IDENTITY_CLIENT_ID", TEXT, "", "client id of a user-assigned identity")
    ca_file: str = setting(
        "KEY_VAULT_CA_FILE", FILE, "", "only for a local vault: the authority of its certificate, PEM"
    )
    refresh_seconds: float = setting(
        "CREDENTIALS_REFRESH_SECONDS",
        seconds(1, 86_400),
        300.0,
        "maximum age of keys and pins, which are read again in the background",
        shown="300",
    )

    @property
    def is_loopback(self) -> bool:
        return urlsplit(self.url).hostname in {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class RotationSettings:
    """The control plane's account, and how certificates and keys are rotated through it. Times are in seconds."""

    subscription: str = setting(
        "CONTROL_PLANE_SUBSCRIPTION",
        required("the subscription id of the control plane's account"),
        "",
        "the subscription of the control plane's account; needed, as the next two, once a service is rotated",
    )
    group: str = setting(
        "CONTROL_PLANE_GROUP",
        required("the resource group of the control plane's account"),
        "",
        "the account's resource group",
    )
    account: str = setting(
        "CONTROL_PLANE_ACCOUNT", required("the name of the control plane's account"), "", "the account's name"
    )
    arm_endpoint: str = setting(
        "CONTROL_PLANE_ARM_ENDPOINT",
        https(),
        "https://management.azure.com",
        "Azure Resource Manager, which returns the control plane's address",
    )
    ca_file: str = setting(
        "CONTROL_PLANE_CA_FILE", FILE, "", "only for a local control plane: the authority of its certificate, PEM"
    )
    grace_seconds: float = setting(
        "ROTATION_GRACE_SECONDS",
        seconds(0, _A_MONTH),
        86_400.0,
        "how long old pins stay after the new certificate was verified",
        shown="86400",
    )
    update_seconds: float = setting(
        "ROTATION_UPDATE_SECONDS", seconds(1, _A_MONTH), 3_600.0, "how long an update may take", shown="3600"
    )
    settling_seconds: float = setting(
        "ROTATION_SETTLING_SECONDS",
        seconds(1, _A_MONTH),
        300.0,
        "how long after an update the new certificate may take to appear",
        shown="300",
    )
    retry_seconds: float = setting(
        "ROTATION_RETRY_SECONDS",
        seconds(1, _A_MONTH),
        3_600.0,
        "pause before a failed update is retried; doubled each time, up to a day",
        shown="3600",
    )
    lease_seconds: float = setting(
        "ROTATION_LEASE_SECONDS",
        seconds(20, _A_MONTH),
        120.0,
        "how long a run that died blocks others",
        shown="120",
    )
    least_valid_days: int = setting(
        "ROTATION_MIN_VALID_DAYS", whole(0, 3_650), 7, "days that a new certificate must still be valid"
    )
    warn_days: int = setting(
        "ROTATION_WARN_DAYS", whole(0, 3_650), 30, "remaining days from which the served certificate is warned of"
    )
    key_days: int = setting(
        "KEY_ROTATION_DAYS", whole(0, 3_650), 0, "age in days at which both keys are rotated; 0 for only on demand"
    )
    allow_self_signed: bool = setting(
        "ROTATION_ALLOW_SELF_SIGNED", FLAG, False, "`yes` accepts self-signed certificates: for development", shown="no"
    )
    webhook_url: str = setting(
        "ROTATION_WEBHOOK_URL",
        https(loopback_http=True),
        "",
        "gets the outcome of every rotation, and warnings, as CloudEvents; https, or http on loopback",
        in_repr=False,
    )


@dataclass(frozen=True)
class Limits:
    """What one request may contain."""

    image_bytes: int = setting("MAX_IMAGE_BYTES", whole(1, 100_000_000), 20_000_000, "bytes of one image")
    image_pixels: int = setting("MAX_IMAGE_PIXELS", whole(1, 1_000_000_000), 50_000_000, "pixels of one image")
    images: int = setting("MAX_IMAGES", whole(1, 1_000), 16, "images in one request")
    image_memory_bytes: int = setting(
        "IMAGE_MEMORY_BYTES",
        whole(0, 1 << 40),
        0,
        "memory for images and bodies in a worker: what exceeds it waits, or is refused with 503; 0 for the default",
        shown="3/8 of the instance's memory, at most 670 MB",
    )


@dataclass(frozen=True)
class General:
    """The settings that belong to no other group."""

    services: str = setting(
        "SERVICES", TEXT, "", "names of the inference services, with commas: lower-case letters, digits, hyphens"
    )
    default_service: str = setting("DEFAULT_SERVICE", TEXT, "", "the service of `POST /api/score`", shown="the first")
    rotation_schedule: str = setting(
        "ROTATION_SCHEDULE",
        TEXT,
        "",
        "the timer's NCRONTAB expression, such as `0 */5 * * * *`; every function app needs it: the host resolves it",
    )


@dataclass(frozen=True)
class Settings:
    """All settings of the gateway; ``vault`` is None where no service needs one, ``rotation`` where none is rotated.

    ``splits`` are the services that spread their requests over others, which are in ``services``.
    """

    services: Mapping[str, ServiceSettings]
    default_service: str
    vault: VaultSettings | None
    limits: Limits
    rotation: RotationSettings | None = None
    splits: Mapping[str, SplitSettings] = field(default_factory=dict)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
