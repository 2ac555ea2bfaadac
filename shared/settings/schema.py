"""The app settings as one schema: each field names the setting that it is read from, its range and its meaning.

A service is described by settings named ``SERVICE__{NAME}__{KEY}``, with its name in capitals and ``_`` for ``-``;
``SERVICES`` lists the names. ``docs/reference/settings.md`` is generated from here. Standard library only: this module
is imported at every cold start.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from urllib.parse import urlsplit

from shared.errors import Misconfigured
from shared.settings.access import read_access
from shared.settings.reader import (
    FILE,
    FLAG,
    SERVICE_PREFIX,
    TEXT,
    Reader,
    address,
    choice,
    https,
    metadata_name,
    optional,
    optional_secret_name,
    pairs,
    required,
    seconds,
    secret_name,
    setting,
    triple,
    whole,
)

_SERVICE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_A_MONTH = 30 * 86_400

# How models are usually trained, by name.
_MEANS = {
    "imagenet": (123.675, 116.28, 103.53),
    "tensorflow": (127.5, 127.5, 127.5),
    "unit": (0.0, 0.0, 0.0),
    "none": (0.0, 0.0, 0.0),
}
_SCALES = {
    "imagenet": (58.395, 57.12, 57.375),
    "tensorflow": (127.5, 127.5, 127.5),
    "unit": (255.0, 255.0, 255.0),
    "none": (1.0, 1.0, 1.0),
}


class IdentityKind(StrEnum):
    """How the gateway authenticates to Key Vault."""

    MANAGED = "managed"
    # azure-identity's DefaultAzureCredential: for a developer's own sign-in; slow where there is none.
    DEFAULT = "default"


class Tls(StrEnum):
    """Whether the channel to a service is encrypted."""

    REQUIRED = "required"
    # Spelled out, so that nobody turns TLS off without knowing the consequence.
    INSECURE = "insecure-no-key-is-sent"


class Protocol(StrEnum):
    """The gRPC protocol that a service speaks."""

    TENSORFLOW = "tensorflow"
    OPEN_INFERENCE = "open-inference"


class Trust(StrEnum):
    """Which certificates of a service are trusted."""

    PINS = "pins"
    PUBLIC = "public"
    BOTH = "both"


class Auth(StrEnum):
    """What authorizes the calls of a service."""

    KEY = "key"
    BEARER = "bearer"
    NONE = "none"
    ENTRA = "entra"


class InputForm(StrEnum):
    """What a service accepts: the image file as it was uploaded, or a tensor prepared here."""

    ENCODED = "encoded"
    TENSOR = "tensor"
    # As the service's metadata says.
    DISCOVERED = "discovered"


class Datatype(StrEnum):
    """What an input's elements are, by the Open Inference Protocol's names: image files, or values of pixels."""

    BYTES = "BYTES"
    UINT8 = "UINT8"
    FP16 = "FP16"
    FP32 = "FP32"


class Layout(StrEnum):
    """The order of an input's dimensions: height, width, channels; or channels first."""

    NHWC = "NHWC"
    NCHW = "NCHW"


class OutputForm(StrEnum):
    """What a service returns: probabilities that sum to one, or logits that still need a softmax."""

    PROBABILITIES = "probabilities"
    LOGITS = "logits"


class Metadata(StrEnum):
    """What becomes of the metadata of a file that is forwarded: position, serial numbers, thumbnails, comments."""

    REMOVE = "remove"
    KEEP = "keep"


class ChannelOrder(StrEnum):
    """The order of the colour channels in a tensor's last dimension."""

    RGB = "RGB"
    BGR = "BGR"


@dataclass(frozen=True)
class Preprocessing:
    """From a picture to a tensor of ``size`` by ``size`` pixels.

    The shorter side is resized to ``resize`` pixels (bicubic), the centre of ``size`` by ``size`` is cropped, and each
    channel becomes ``(value - mean) / scale``, with values of 0 to 255; in a tensor of UINT8 it stays as it is.
    Sizes of 0 are decided by the service's metadata.
    """

    size: int = setting("IMAGE_SIZE", whole(1, 4096), 224, "the side of the centre crop, in pixels")
    resize: int = setting(
        "IMAGE_RESIZE",
        whole(1, 8192),
        256,
        "the shorter side after resizing, before the crop, in pixels; also that of a file re-encoded for an `encoded` "
        "service. At least `IMAGE_SIZE`",
    )
    mean: tuple[float, float, float] = setting(
        "CHANNEL_MEAN",
        triple(presets=_MEANS),
        (127.0, 127.0, 127.0),
        "for tensors of floating point: `(value - mean) / scale` of red, green and blue; or, for both settings, a "
        "name: `imagenet` (torchvision's), `tensorflow` (-1 to 1), `unit` (0 to 1), `none` (0 to 255)",
        shown="127,127,127",
    )
    scale: tuple[float, float, float] = setting(
        "CHANNEL_SCALE",
        triple(allow_zero=False, presets=_SCALES),
        (128.0, 128.0, 128.0),
        "see `CHANNEL_MEAN`",
        shown="128,128,128",
    )
    order: ChannelOrder = setting(
        "CHANNEL_ORDER", choice(ChannelOrder), ChannelOrder.RGB, "the order of a tensor's channels"
    )


@dataclass(frozen=True)
class ServiceSettings:
    """One inference service: its address, how it is trusted, what it accepts and returns."""

    name: str
    address: str = setting(
        "ADDRESS",
        address("the host name or IP address of the service"),
        "",
        "host name or IP address, without scheme and port; several IPv4 addresses with commas are used in turn (then "
        "set `TLS_NAME`)",
    )
    port: int = setting("PORT", whole(1, 65535), 443, "TCP port")
    tls: Tls = setting(
        "TLS",
        choice(Tls),
        Tls.REQUIRED,
        "`insecure-no-key-is-sent` for a service without TLS: it never gets a key",
    )
    tls_name: str = setting("TLS_NAME", TEXT, "", "the name in the service's certificate", shown="the address")
    trust: Trust = setting(
        "TRUST",
        choice(Trust),
        Trust.PINS,
        "`pins`: the certificates in `PINS_SECRET`; `public`: the authorities that the operating system trusts, or "
        "those in `TRUST_FILE`",
    )
    trust_file: str = setting(
        "TRUST_FILE",
        FILE,
        "",
        "for `public`: a PEM file in the app, such as a company's authority",
        shown="the system's",
    )
    client_certificate_secret: str = setting(
        "CLIENT_CERTIFICATE_SECRET",
        optional_secret_name(),
        "",
        "name of the secret with a client certificate and its key (PEM or PKCS#12), for mutual TLS",
    )
    auth: Auth = setting(
        "AUTH",
        choice(Auth),
        Auth.KEY,
        "what authorizes a call; `key`: the keys in the secrets below, as they are; `bearer`: the same after `Bearer`; "
        "`entra`: a token of the app's identity for `AUTH_SCOPE`",
    )
    auth_scope: str = setting("AUTH_SCOPE", TEXT, "", "for `entra`: the scope, as in `api://my-service/.default`")
    auth_metadata: str = setting(
        "AUTH_METADATA", metadata_name(), "authorization", "the name of the call metadata that carries the key"
    )
    call_metadata: tuple[tuple[str, str], ...] = setting(
        "METADATA",
        pairs(),
        (),
        "further call metadata, as in `seldon-model=resnet, x-team=vision`; never for secrets",
        shown="",
    )
    authority: str = setting(
        "AUTHORITY", TEXT, "", "the calls' `:authority`, by which a router in front may choose", shown="the address"
    )
    primary_key_secret: str = setting(
        "PRIMARY_KEY_SECRET", secret_name("{name}-primary-key"), "", "name of the secret with the primary key"
    )
    secondary_key_secret: str = setting(
        "SECONDARY_KEY_SECRET",
        secret_name("{name}-secondary-key"),
        "",
        "name of the secret with the secondary key; it may be missing from the vault",
    )
    pins_secret: str = setting(
        "PINS_SECRET",
        secret_name("{name}-pins"),
        "",
        "name of the secret with PEM certificates, one or several: the service's own, or its authority's",
    )
    control_plane_name: str = setting(
        "CONTROL_PLANE_NAME",
        TEXT,
        "",
        "the service's name at the control plane; where set, its certificate and keys are rotated",
    )
    certificate_secret: str = setting(
        "CERTIFICATE_SECRET",
        secret_name("{name}-certificate"),
        "",
        "name of the secret with the certificate to rotate to, its key and chain (PEM or PKCS#12)",
    )
    protocol: Protocol = setting(
        "PROTOCOL",
        choice(Protocol),
        Protocol.TENSORFLOW,
        "`tensorflow`: TensorFlow Serving's; `open-inference`: that of Triton, KServe and OpenVINO Model Server",
    )
    model: str = setting(
        "MODEL", TEXT, "", "the service's name of the model; may stay empty with the protocol `tensorflow`"
    )
    model_version: str = setting(
        "MODEL_VERSION",
        TEXT,
        "",
        "the model's version, or for `tensorflow` a label of one",
        shown="the service's choice",
    )
    signature: str = setting("SIGNATURE", TEXT, "", "the model's signature, for `tensorflow`; may stay empty")
    input_name: str = setting("INPUT_NAME", TEXT, "images", "name of the input tensor", shown="`images`, or discovered")
    input_form: InputForm = setting(
        "INPUT_FORM",
        choice(InputForm),
        InputForm.ENCODED,
        "`encoded`: the file's bytes are sent; `tensor`: the picture is decoded and normalised here; `discovered`: "
        "what the settings leave open is read from the service's metadata at first use",
        shown="encoded; with the protocol `open-inference`: discovered",
    )
    input_type: Datatype | None = setting(
        "INPUT_TYPE",
        optional(Datatype),
        None,
        "the input's datatype; `BYTES` are image files",
        shown="FP32 where `INPUT_FORM` is tensor, or discovered",
    )
    input_layout: Layout | None = setting(
        "INPUT_LAYOUT", optional(Layout), None, "the order of a tensor's dimensions", shown="NHWC, or discovered"
    )
    max_batch: int = setting(
        "MAX_BATCH",
        whole(0, 1_000),
        0,
        "images in one call of a model that takes several at once; 0: as many as the service says, where it says so",
    )
    metadata: Metadata = setting(
        "FORWARD_METADATA",
        choice(Metadata),
        Metadata.REMOVE,
        "for `encoded`: `keep` forwards files with their position, serial numbers, thumbnails and comments",
    )
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    output_name: str = setting(
        "OUTPUT_NAME", TEXT, "output_alias", "name of the output tensor", shown="`output_alias`, or discovered"
    )
    output_form: OutputForm = setting(
        "OUTPUT_FORM", choice(OutputForm), OutputForm.PROBABILITIES, "to `logits` a softmax is applied here"
    )
    labels: str = setting(
        "LABELS",
        TEXT,
        "imagenet",
        "`imagenet`, `imagenet-background` (1,001 classes), or a UTF-8 file in the app, one name a line",
    )
    max_message_bytes: int = setting(
        "MAX_MESSAGE_BYTES",
        whole(65_536, 64 * 1024 * 1024),
        4 * 1024 * 1024,
        "the largest message that the service accepts; a larger file is made smaller first",
    )
    deadline_seconds: float = setting(
        "DEADLINE_MS",
        seconds(1, 600_000, per_second=1000),
        10.0,
        "for the whole of a request, in milliseconds",
        shown="10000",
    )
    max_concurrency: int = setting(
        "MAX_CONCURRENCY",
        whole(1, 10_000),
        64,
        "images in progress at each address and worker, fewer while the service is slow; while there are that many, "
        "further requests are refused at once with 503 and `Retry-After`",
    )

    @property
    def reads_vault(self) -> bool:
        """Whether it needs Key Vault, or the identity that reads it."""
        uses_public_alone = self.trust is Trust.PUBLIC and self.auth is Auth.NONE
        return self.tls is Tls.REQUIRED and not (uses_public_alone and not self.client_certificate_secret)

    @property
    def is_discovered(self) -> bool:
        """Whether what the settings leave open is read from the service's metadata."""
        return self.protocol is Protocol.OPEN_INFERENCE or self.input_form is InputForm.DISCOVERED

    @property
    def addresses(self) -> tuple[str, ...]:
        """Host names or IP addresses, one or several."""
        return tuple(part.strip() for part in self.address.split(","))

    @property
    def rotation_secret(self) -> str:
        """The name of the secret with the rotation's state; ``-lease`` at its end makes that of the lease.

        By the certificate's secret: function apps that rotate the same secrets share both, whatever they call the
        service.
        """
        return f"{self.certificate_secret.removesuffix('-certificate')}-rotation"

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """The names, or IP addresses, that the service's certificate must cover."""
        return (self.tls_name,) if self.tls_name else self.addresses

    def __repr__(self) -> str:
        return f"<ServiceSettings {self.name}>"


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
    general = reader.read(General)
    read_access(reader)
    names = [name for name in re.split(r"[,\s]+", general.services) if name]
    _check_names(names, reader)
    services = {name: _service(name, reader) for name in names}
    default = general.default_service or (names[0] if names else "")
    if names and default not in services:
        reader.fault("DEFAULT_SERVICE", f"is {default!r}, which SERVICES does not list")
    rotated = [service for service in services.values() if service.control_plane_name]
    _check_rotated(rotated, reader)
    _check_secrets(list(services.values()), reader)
    needs_vault = any(service.reads_vault for service in services.values())
    settings = Settings(
        services=services,
        default_service=default,
        vault=reader.read(VaultSettings) if needs_vault else None,
        limits=reader.read(Limits),
        rotation=reader.read(RotationSettings) if rotated else None,
    )
    for schema in (VaultSettings, RotationSettings):
        reader.declare(schema)
    reader.check_unknown()
    if reader.faults:
        raise Misconfigured("; ".join(reader.faults), settings=reader.names)
    return settings


def prefix(service: str) -> str:
    """The beginning of a service's settings, as ``SERVICE__MY_MODEL__`` of ``my-model``."""
    return f"{SERVICE_PREFIX}{service.upper().replace('-', '_')}__"


def _check_names(names: list[str], reader: Reader) -> None:
    if not names:
        reader.fault("SERVICES", "lists no service; name at least one, as in SERVICES=imagenet")
    for name in names:
        if not _SERVICE_NAME.fullmatch(name):
            reader.fault("SERVICES", f"contains {name!r}; a name is lower-case letters, digits and hyphens")
    for twice in sorted(name for name, count in Counter(names).items() if count > 1):
        reader.fault("SERVICES", f"lists {twice!r} twice")


def _service(name: str, reader: Reader) -> ServiceSettings:
    own = reader.within(prefix(name), service=name)
    preprocessing = _with_preset(own.read(Preprocessing, resize=0), own)
    service = own.read(ServiceSettings, name=name, preprocessing=preprocessing)
    if service.protocol is Protocol.OPEN_INFERENCE:
        form = InputForm.ENCODED if service.input_type is Datatype.BYTES else InputForm.DISCOVERED
        service = replace(service, input_form=service.input_form if own.text("INPUT_FORM") else form)
        if not service.model:
            own.fault("MODEL", "is missing: this protocol's requests name the model")
    _check_input(service, own)
    _check_trust(service, own)
    return _with_open_ones(service, own) if service.is_discovered else _with_sizes(service, own)


def _with_preset(how: Preprocessing, own: Reader) -> Preprocessing:
    """The name of a preset in one of the two settings is meant for both."""
    mean, scale = own.text("CHANNEL_MEAN"), own.text("CHANNEL_SCALE")
    if not scale and mean in _SCALES:
        return replace(how, scale=_SCALES[mean])
    return replace(how, mean=_MEANS[scale]) if not mean and scale in _MEANS else how


def _check_input(service: ServiceSettings, own: Reader) -> None:
    is_file = service.input_type is Datatype.BYTES
    if service.input_type and service.input_form is (InputForm.TENSOR if is_file else InputForm.ENCODED):
        own.fault("INPUT_TYPE", f"is {service.input_type}, which contradicts the INPUT_FORM {service.input_form}")


def _check_trust(service: ServiceSettings, own: Reader) -> None:
    if service.tls is not Tls.REQUIRED:
        for key in ("TRUST", "TRUST_FILE", "CLIENT_CERTIFICATE_SECRET", "AUTH"):
            if own.text(key) not in {"", Auth.NONE}:
                own.fault(key, "is set for a service without TLS, over which no secret is sent")
    if service.trust is Trust.PINS and service.trust_file:
        own.fault("TRUST_FILE", "is set, but TRUST is pins; public or both may be meant")
    if (service.auth is Auth.ENTRA) is not bool(service.auth_scope):
        own.fault("AUTH_SCOPE", "belongs to AUTH=entra, which needs it")
    if any(name == service.auth_metadata for name, _ in service.call_metadata):
        own.fault(
            "METADATA", f"has {service.auth_metadata}, which carries what AUTH says: a secret belongs to Key Vault"
        )


def _with_sizes(service: ServiceSettings, own: Reader) -> ServiceSettings:
    size = service.preprocessing.size
    resize = whole(size, 8192).read(own, "IMAGE_RESIZE", max(Preprocessing().resize, size))
    return replace(service, preprocessing=replace(service.preprocessing, resize=resize))


def _with_open_ones(service: ServiceSettings, own: Reader) -> ServiceSettings:
    """The settings, with what nobody set left to the service's metadata instead of the defaults."""
    size = whole(1, 4096).read(own, "IMAGE_SIZE", 0)
    resize = whole(size or 1, 8192).read(own, "IMAGE_RESIZE", 0)
    return replace(
        service,
        input_name=own.text("INPUT_NAME"),
        output_name=own.text("OUTPUT_NAME"),
        preprocessing=replace(service.preprocessing, size=size, resize=resize),
    )


def _check_rotated(services: list[ServiceSettings], reader: Reader) -> None:
    """Two must not rotate one service of the control plane, and one without TLS has nothing to rotate."""
    counts = Counter(service.control_plane_name.lower() for service in services)
    for twice in sorted(name for name, count in counts.items() if count > 1):
        names = [service.name for service in services if service.control_plane_name.lower() == twice]
        reader.fault(f"{SERVICE_PREFIX}...__CONTROL_PLANE_NAME", f"is {twice!r} for each of {_only_one(names)}")
    for service in services:
        if service.tls is not Tls.REQUIRED:
            reader.fault(f"{prefix(service.name)}CONTROL_PLANE_NAME", "is set for a service without TLS")
        if (
            service.auth is not Auth.KEY
            or service.auth_metadata != "authorization"
            or service.client_certificate_secret
        ):
            reader.fault(
                f"{prefix(service.name)}CONTROL_PLANE_NAME",
                "is set for a service that does not take its keys as they are: AUTH must be key, AUTH_METADATA and "
                "CLIENT_CERTIFICATE_SECRET unset",
            )
        if service.is_discovered:
            # A rotation proves with a request of its own that the service scores, over a connection of its own.
            reader.fault(
                f"{prefix(service.name)}CONTROL_PLANE_NAME",
                "is set for a service whose input is discovered: only PROTOCOL=tensorflow with INPUT_FORM encoded or "
                "tensor is rotated",
            )


_SECRETS = ("primary_key_secret", "secondary_key_secret", "pins_secret", "certificate_secret")


def _check_secrets(services: list[ServiceSettings], reader: Reader) -> None:
    """A secret that is rotated has one purpose, and is rotated for one service; names in Key Vault ignore case.

    Otherwise one rotation would overwrite what the other one has stored, for ever.
    """
    uses: defaultdict[str, list[tuple[str, ServiceSettings]]] = defaultdict(list)
    for service in services:
        for purpose in _SECRETS:
            uses[getattr(service, purpose).lower()].append((purpose.upper(), service))
        if service.control_plane_name:
            uses[f"{service.rotation_secret}".lower()].append(("CERTIFICATE_SECRET", service))
            uses[f"{service.rotation_secret}-lease".lower()].append(("CERTIFICATE_SECRET", service))
    for secret, users in uses.items():
        rotated = [service.name for _, service in users if service.control_plane_name]
        keys = dict.fromkeys(f"{prefix(service.name)}{purpose}" for purpose, service in users)
        if rotated and len({purpose for purpose, _ in users}) > 1:
            reader.fault(f"{SERVICE_PREFIX}...", f"use the secret {secret!r} for different purposes: {', '.join(keys)}")
        elif len(rotated) > 1:
            reader.fault(f"{SERVICE_PREFIX}...__{users[0][0]}", f"is {secret!r} for each of {_only_one(rotated)}")


def _only_one(names: list[str]) -> str:
    return f"{', '.join(names)}, and only one may rotate it: leave CONTROL_PLANE_NAME to that one"
