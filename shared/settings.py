"""The app settings: read from the environment, checked as a whole, each fault named.

A service is described by settings named ``SERVICE__{NAME}__{KEY}``, with its name in capitals and ``_`` for ``-``;
``SERVICES`` lists the names. Standard library only: this module is imported at every cold start.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from shared.errors import Misconfigured
from shared.settings_reader import Reader

_SERVICE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Identity(StrEnum):
    """How the gateway proves to Key Vault who it is."""

    MANAGED = "managed"
    # azure-identity's DefaultAzureCredential: for a developer's own sign-in; slow where there is none.
    DEFAULT = "default"


class Tls(StrEnum):
    """Whether the channel to a service is encrypted."""

    REQUIRED = "required"
    # Spelled out, so that nobody turns TLS off without knowing what else that means.
    INSECURE = "insecure-no-key-is-sent"


class Answer(StrEnum):
    """A setting that is a question."""

    NO = "no"
    YES = "yes"


class InputForm(StrEnum):
    """What a service takes: the image file as it came, or a tensor prepared here."""

    ENCODED = "encoded"
    TENSOR = "tensor"


class OutputForm(StrEnum):
    """What a service gives: probabilities that sum to one, or logits that still need a softmax."""

    PROBABILITIES = "probabilities"
    LOGITS = "logits"


class ChannelOrder(StrEnum):
    """The order of the colour channels in a tensor's last dimension."""

    RGB = "RGB"
    BGR = "BGR"


@dataclass(frozen=True)
class Preprocessing:
    """From a picture to a ``[size, size, 3]`` float32 tensor.

    The shorter side is resized to ``resize`` pixels (bicubic), the centre of ``size`` by ``size`` is cut out, and each
    channel becomes ``(value - mean) / scale``, with values of 0 to 255.
    """

    size: int = 224
    resize: int = 256
    mean: tuple[float, float, float] = (127.0, 127.0, 127.0)
    scale: tuple[float, float, float] = (128.0, 128.0, 128.0)
    order: ChannelOrder = ChannelOrder.RGB


@dataclass(frozen=True)
class ServiceSettings:
    """One inference service: where it is, how it is trusted, what it takes and gives."""

    name: str
    address: str
    port: int = 443
    tls: Tls = Tls.REQUIRED
    tls_name: str = ""
    primary_key_secret: str = ""
    secondary_key_secret: str = ""
    pins_secret: str = ""
    # What the control plane calls the service; where set, its certificate and keys are rotated.
    control_plane_name: str = ""
    certificate_secret: str = ""
    model: str = ""
    signature: str = ""
    input_name: str = "images"
    input_form: InputForm = InputForm.ENCODED
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    output_name: str = "output_alias"
    output_form: OutputForm = OutputForm.PROBABILITIES
    labels: str = "imagenet"
    # What the service takes in one message: gRPC's own default, which serving programs rarely raise.
    max_message_bytes: int = 4 * 1024 * 1024
    deadline_seconds: float = 10.0
    # How many images a worker has under way to each of the addresses at most; what comes beyond is refused.
    max_concurrency: int = 64

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """The names, or IP addresses, that the service's certificate must be for."""
        return (self.tls_name,) if self.tls_name else self.addresses

    @property
    def addresses(self) -> tuple[str, ...]:
        """Host names or IP addresses, one or several."""
        return tuple(part.strip() for part in self.address.split(","))

    def __repr__(self) -> str:
        return f"<ServiceSettings {self.name}>"


@dataclass(frozen=True)
class VaultSettings:
    """Key Vault and the identity that reads it; ``ca_file`` is for a local vault with a certificate of its own."""

    url: str
    identity: Identity = Identity.MANAGED
    client_id: str = ""
    ca_file: str = ""
    refresh_seconds: float = 300.0

    @property
    def is_loopback(self) -> bool:
        return urlsplit(self.url).hostname in {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class RotationSettings:
    """The control plane's account, and how certificates and keys are rotated through it. Times are in seconds.

    ``grace_seconds``: how long an old pin stays after the new certificate was verified. ``update_seconds``: how long an
    update may take. ``settling_seconds``: how long after it the endpoint may take to present the new certificate.
    ``retry_seconds``: until what failed is tried again, doubled each time. ``lease_seconds``: how long a run that died
    keeps others away. ``key_days``: how old a key may become before both are rotated; 0 for never.
    """

    subscription: str
    group: str
    account: str
    arm_endpoint: str = "https://management.azure.com"
    ca_file: str = ""
    grace_seconds: float = 86_400.0
    update_seconds: float = 3_600.0
    settling_seconds: float = 300.0
    retry_seconds: float = 3_600.0
    lease_seconds: float = 120.0
    least_valid_days: int = 7
    warn_days: int = 30
    key_days: int = 0
    allow_self_signed: bool = False
    webhook_url: str = field(default="", repr=False)


@dataclass(frozen=True)
class Limits:
    """What one request may hold."""

    image_bytes: int = 20_000_000
    image_pixels: int = 50_000_000
    images: int = 16


@dataclass(frozen=True)
class Settings:
    """All settings of the gateway; ``vault`` is None where no service needs one, ``rotation`` where none is rotated."""

    services: Mapping[str, ServiceSettings]
    default_service: str
    vault: VaultSettings | None
    limits: Limits
    rotation: RotationSettings | None = None


def load(environ: Mapping[str, str]) -> Settings:
    """Read and check the settings.

    Raises:
        Misconfigured: names every setting that is missing, unknown or has a wrong value.
    """
    reader = Reader(environ)
    names = [name for name in re.split(r"[,\s]+", reader.text("SERVICES")) if name]
    _check_names(names, reader)
    services = {name: _service(name, reader) for name in names}
    default = reader.text("DEFAULT_SERVICE", names[0] if names else "")
    if names and default not in services:
        reader.fault("DEFAULT_SERVICE", f"is {default!r}, which SERVICES does not list")
    rotated = [service for service in services.values() if service.control_plane_name]
    _check_rotated(rotated, reader)
    needs_vault = any(service.tls is Tls.REQUIRED for service in services.values())
    settings = Settings(
        services=services,
        default_service=default,
        vault=_vault(reader) if needs_vault else None,
        limits=Limits(
            image_bytes=reader.integer("MAX_IMAGE_BYTES", Limits.image_bytes, 1, 100_000_000),
            image_pixels=reader.integer("MAX_IMAGE_PIXELS", Limits.image_pixels, 1, 1_000_000_000),
            images=reader.integer("MAX_IMAGES", Limits.images, 1, 1_000),
        ),
        rotation=_rotation(reader) if rotated else None,
    )
    reader.check_service_keys()
    if reader.faults:
        raise Misconfigured("; ".join(reader.faults), settings=reader.names)
    return settings


def prefix(service: str) -> str:
    """The beginning of a service's settings, as ``SERVICE__MY_MODEL__`` of ``my-model``."""
    return f"SERVICE__{service.upper().replace('-', '_')}__"


def _check_names(names: list[str], reader: Reader) -> None:
    if not names:
        reader.fault("SERVICES", "lists no service; name at least one, as in SERVICES=imagenet")
    for name in names:
        if not _SERVICE_NAME.fullmatch(name):
            reader.fault("SERVICES", f"holds {name!r}; a name is lower-case letters, digits and hyphens")
    for twice in sorted({name for name in names if names.count(name) > 1}):
        reader.fault("SERVICES", f"lists {twice!r} twice")


def _service(name: str, reader: Reader) -> ServiceSettings:
    own = reader.within(prefix(name))
    tls = own.choice("TLS", Tls, Tls.REQUIRED)
    default = ServiceSettings(name, "")
    size = own.integer("IMAGE_SIZE", Preprocessing.size, 1, 4096)
    return ServiceSettings(
        name=name,
        address=own.required("ADDRESS", "the host name or IP address of the service"),
        port=own.integer("PORT", default.port, 1, 65535),
        tls=tls,
        tls_name=own.text("TLS_NAME"),
        primary_key_secret=own.secret("PRIMARY_KEY_SECRET", f"{name}-primary-key"),
        secondary_key_secret=own.secret("SECONDARY_KEY_SECRET", f"{name}-secondary-key"),
        pins_secret=own.secret("PINS_SECRET", f"{name}-pins"),
        control_plane_name=own.text("CONTROL_PLANE_NAME"),
        certificate_secret=own.secret("CERTIFICATE_SECRET", f"{name}-certificate"),
        model=own.text("MODEL"),
        signature=own.text("SIGNATURE"),
        input_name=own.text("INPUT_NAME", default.input_name),
        input_form=own.choice("INPUT_FORM", InputForm, default.input_form),
        preprocessing=Preprocessing(
            size=size,
            resize=own.integer("IMAGE_RESIZE", max(Preprocessing.resize, size), size, 8192),
            mean=own.triple("CHANNEL_MEAN", Preprocessing.mean),
            scale=own.triple("CHANNEL_SCALE", Preprocessing.scale, allow_zero=False),
            order=own.choice("CHANNEL_ORDER", ChannelOrder, Preprocessing.order),
        ),
        output_name=own.text("OUTPUT_NAME", default.output_name),
        output_form=own.choice("OUTPUT_FORM", OutputForm, default.output_form),
        labels=own.text("LABELS", default.labels),
        max_message_bytes=own.integer("MAX_MESSAGE_BYTES", default.max_message_bytes, 65_536, 64 * 1024 * 1024),
        deadline_seconds=own.integer("DEADLINE_MS", 10_000, 1, 600_000) / 1000,
        max_concurrency=own.integer("MAX_CONCURRENCY", default.max_concurrency, 1, 10_000),
    )


def _check_rotated(services: list[ServiceSettings], reader: Reader) -> None:
    """Two services may not be rotated into each other's secrets, and one without TLS has nothing to rotate."""
    for what in (
        "control_plane_name",
        "pins_secret",
        "certificate_secret",
        "primary_key_secret",
        "secondary_key_secret",
    ):
        values = [getattr(service, what) for service in services]
        for twice in sorted({value for value in values if values.count(value) > 1}):
            names = ", ".join(service.name for service in services if getattr(service, what) == twice)
            fault = (
                f"is {twice!r} for each of {names}, and one alone may rotate it: leave CONTROL_PLANE_NAME to that one"
            )
            reader.fault(f"SERVICE__...__{what.upper()}", fault)
    for service in services:
        if service.tls is not Tls.REQUIRED:
            reader.fault(f"{prefix(service.name)}CONTROL_PLANE_NAME", "is set for a service without TLS")


def _vault(reader: Reader) -> VaultSettings:
    reader.required("KEY_VAULT_URL", "as in https://my-vault.vault.azure.net")
    return VaultSettings(
        url=reader.https("KEY_VAULT_URL"),
        identity=reader.choice("KEY_VAULT_IDENTITY", Identity, Identity.MANAGED),
        client_id=reader.text("MANAGED_IDENTITY_CLIENT_ID"),
        ca_file=reader.file("KEY_VAULT_CA_FILE"),
        refresh_seconds=reader.integer("CREDENTIALS_REFRESH_SECONDS", 300, 1, 86_400),
    )


def _rotation(reader: Reader) -> RotationSettings:
    default = RotationSettings("", "", "")

    def seconds(key: str, value: float, low: int = 1) -> float:
        return reader.integer(f"ROTATION_{key}_SECONDS", int(value), low, 30 * 86_400)

    return RotationSettings(
        subscription=reader.required(
            "CONTROL_PLANE_SUBSCRIPTION", "the subscription id of the control plane's account"
        ),
        group=reader.required("CONTROL_PLANE_GROUP", "the resource group of the control plane's account"),
        account=reader.required("CONTROL_PLANE_ACCOUNT", "the name of the control plane's account"),
        arm_endpoint=reader.https("CONTROL_PLANE_ARM_ENDPOINT", default.arm_endpoint),
        ca_file=reader.file("CONTROL_PLANE_CA_FILE"),
        grace_seconds=seconds("GRACE", default.grace_seconds, 0),
        update_seconds=seconds("UPDATE", default.update_seconds),
        settling_seconds=seconds("SETTLING", default.settling_seconds),
        retry_seconds=seconds("RETRY", default.retry_seconds),
        lease_seconds=seconds("LEASE", default.lease_seconds, 5),
        least_valid_days=reader.integer("ROTATION_MIN_VALID_DAYS", default.least_valid_days, 0, 3_650),
        warn_days=reader.integer("ROTATION_WARN_DAYS", default.warn_days, 0, 3_650),
        key_days=reader.integer("KEY_ROTATION_DAYS", default.key_days, 0, 3_650),
        allow_self_signed=reader.choice("ROTATION_ALLOW_SELF_SIGNED", Answer, Answer.NO) is Answer.YES,
        webhook_url=reader.https("ROTATION_WEBHOOK_URL", loopback_http=True),
    )
