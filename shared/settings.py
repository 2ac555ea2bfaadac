"""The app settings: read from the environment, checked as a whole, each fault named.

A service is described by settings named ``SERVICE__{NAME}__{KEY}``, with its name in capitals and ``_`` for ``-``;
``SERVICES`` lists the names. Standard library only: this module is imported at every cold start.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from shared.errors import Misconfigured

APP_ROOT = Path(__file__).resolve().parent.parent

_SERVICE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SECRET_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")


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
class Limits:
    """What one request may hold."""

    image_bytes: int = 20_000_000
    image_pixels: int = 50_000_000
    images: int = 16


@dataclass(frozen=True)
class Settings:
    """All settings of the gateway; ``vault`` is None where no service needs one."""

    services: Mapping[str, ServiceSettings]
    default_service: str
    vault: VaultSettings | None
    limits: Limits


def load(environ: Mapping[str, str]) -> Settings:
    """Read and check the settings.

    Raises:
        Misconfigured: names every setting that is missing, unknown or has a wrong value.
    """
    reader = _Reader(environ)
    names = [name for name in re.split(r"[,\s]+", reader.text("SERVICES")) if name]
    _check_names(names, reader)
    services = {name: _service(name, reader) for name in names}
    default = reader.text("DEFAULT_SERVICE", names[0] if names else "")
    if names and default not in services:
        reader.fault("DEFAULT_SERVICE", f"is {default!r}, which SERVICES does not list")
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
    )
    reader.check_service_keys()
    if reader.faults:
        raise Misconfigured("; ".join(reader.faults), settings=reader.names)
    return settings


def prefix(service: str) -> str:
    """The beginning of a service's settings, as ``SERVICE__MY_MODEL__`` of ``my-model``."""
    return f"SERVICE__{service.upper().replace('-', '_')}__"


def _check_names(names: list[str], reader: "_Reader") -> None:
    if not names:
        reader.fault("SERVICES", "lists no service; name at least one, as in SERVICES=imagenet")
    for name in names:
        if not _SERVICE_NAME.fullmatch(name):
            reader.fault("SERVICES", f"holds {name!r}; a name is lower-case letters, digits and hyphens")
    for twice in sorted({name for name in names if names.count(name) > 1}):
        reader.fault("SERVICES", f"lists {twice!r} twice")


def _service(name: str, reader: "_Reader") -> ServiceSettings:
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
    )


def _vault(reader: "_Reader") -> VaultSettings:
    url = reader.required("KEY_VAULT_URL", "as in https://my-vault.vault.azure.net")
    if url and (urlsplit(url).scheme != "https" or not urlsplit(url).hostname):
        reader.fault("KEY_VAULT_URL", "is no https address")
    return VaultSettings(
        url=url,
        identity=reader.choice("KEY_VAULT_IDENTITY", Identity, Identity.MANAGED),
        client_id=reader.text("MANAGED_IDENTITY_CLIENT_ID"),
        ca_file=reader.file("KEY_VAULT_CA_FILE"),
        refresh_seconds=reader.integer("CREDENTIALS_REFRESH_SECONDS", 300, 1, 86_400),
    )


class _Reader:
    """Reads typed values; collects the faults instead of stopping at the first."""

    def __init__(self, environ: Mapping[str, str], start: str = "", parent: "_Reader | None" = None) -> None:
        self._environ = environ
        self._start = start
        self.faults: list[str] = parent.faults if parent else []
        self.names: list[str] = parent.names if parent else []
        self.known: set[str] = parent.known if parent else set()

    def within(self, start: str) -> "_Reader":
        return _Reader(self._environ, start, self)

    def fault(self, key: str, what: str) -> None:
        name = self._start + key
        self.names.append(name)
        self.faults.append(f"{name} {what}")

    def text(self, key: str, default: str = "") -> str:
        name = self._start + key
        self.known.add(name)
        return self._environ.get(name, "").strip() or default

    def required(self, key: str, meaning: str) -> str:
        value = self.text(key)
        if not value:
            self.fault(key, f"is missing: {meaning}")
        return value

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        value = self.text(key)
        if not value:
            return default
        if re.fullmatch(r"[0-9]{1,12}", value) and low <= int(value) <= high:
            return int(value)
        self.fault(key, f"is {value!r}; a whole number from {low} to {high} is needed")
        return default

    def choice[T: StrEnum](self, key: str, kind: Callable[[str], T], default: T) -> T:
        value = self.text(key)
        if not value:
            return default
        try:
            return kind(value)
        except ValueError:
            self.fault(key, f"is {value!r}; it is one of {', '.join(type(default))}")
            return default

    def secret(self, key: str, default: str) -> str:
        value = self.text(key, default)
        if not _SECRET_NAME.fullmatch(value):
            # The value stays unsaid: somebody may have put the secret itself where its name belongs.
            self.fault(key, "is no name of a Key Vault secret: letters, digits and hyphens, 127 at most")
        return value

    def triple(
        self, key: str, default: tuple[float, float, float], *, allow_zero: bool = True
    ) -> tuple[float, float, float]:
        value = self.text(key)
        if not value:
            return default
        try:
            one, two, three = (float(part) for part in value.split(","))
        except ValueError:
            self.fault(key, f"is {value!r}; three numbers with commas are needed, as in 127,127,127")
            return default
        if not allow_zero and 0.0 in (one, two, three):
            self.fault(key, f"is {value!r}; none of the three may be zero")
            return default
        return one, two, three

    def file(self, key: str) -> str:
        value = self.text(key)
        if not value:
            return ""
        path = APP_ROOT / value
        if not path.is_file():
            self.fault(key, f"is {value!r}, which is no file (a relative path starts at the app's folder)")
        return str(path)

    def check_service_keys(self) -> None:
        """A setting that nothing reads is a misspelled one."""
        for name in self._unread():
            self.names.append(name)
            self.faults.append(f"{name} is not known: it is misspelled, or SERVICES does not list its service")

    def _unread(self) -> Iterator[str]:
        return (name for name in sorted(self._environ) if name.startswith("SERVICE__") and name not in self.known)
