"""The settings of one inference service: each field names the setting that it is read from, its range and its meaning.

A service is described by settings named ``SERVICE__{NAME}__{KEY}``, with its name in capitals and ``_`` for ``-``.
Standard library only: this module is imported at every cold start.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from shared.settings.reader import (
    FILE,
    FLAG,
    TEXT,
    address,
    choice,
    metadata_name,
    optional,
    optional_secret_name,
    pairs,
    seconds,
    secret_name,
    setting,
    triple,
    whole,
)

# How models are usually trained, by name.
MEANS = {
    "imagenet": (123.675, 116.28, 103.53),
    "tensorflow": (127.5, 127.5, 127.5),
    "unit": (0.0, 0.0, 0.0),
    "none": (0.0, 0.0, 0.0),
}
SCALES = {
    "imagenet": (58.395, 57.12, 57.375),
    "tensorflow": (127.5, 127.5, 127.5),
    "unit": (255.0, 255.0, 255.0),
    "none": (1.0, 1.0, 1.0),
}

# The LABELS of a service that names its classes itself.
SERVICE_LABELS = "service"


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


class OutputKind(StrEnum):
    """What becomes of a model's output: ranked and named classes, each class's score, or all outputs as they are."""

    CLASSES = "classes"
    SCORES = "scores"
    RAW = "raw"


class Activation(StrEnum):
    """The function that makes scores of a model's values."""

    NONE = "none"
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


class OutputForm(StrEnum):
    """The earlier form of :class:`Activation`: probabilities (none), or logits (softmax)."""

    PROBABILITIES = "probabilities"
    LOGITS = "logits"


class Metadata(StrEnum):
    """What becomes of the metadata of a file that is forwarded: position, serial numbers, thumbnails, comments."""

    REMOVE = "remove"
    KEEP = "keep"


class Fit(StrEnum):
    """How a picture is made to a square: its centre is cut out, or it is distorted, or bars are added."""

    CROP = "crop"
    STRETCH = "stretch"
    LETTERBOX = "letterbox"


class ChannelOrder(StrEnum):
    """The order of the colour channels in a tensor's last dimension."""

    RGB = "RGB"
    BGR = "BGR"


@dataclass(frozen=True)
class Preprocessing:
    """From a picture to a tensor of ``size`` by ``size`` pixels.

    By ``fit`` the shorter side is resized to ``resize`` pixels (bicubic) and the centre of ``size`` by ``size`` is
    cropped; or both sides are resized to ``size``; or the longer side is, and bars of the grey ``padding`` are added.
    Each channel becomes ``(value - mean) / scale``, with values of 0 to 255; in a tensor of UINT8 it stays as it is.
    Sizes of 0 are decided by the service's metadata.
    """

    size: int = setting("IMAGE_SIZE", whole(1, 4096), 224, "the side of the tensor's picture, in pixels")
    resize: int = setting(
        "IMAGE_RESIZE",
        whole(1, 8192),
        256,
        "for `RESIZE=crop`: the shorter side after resizing, before the crop, in pixels; also that of a file "
        "re-encoded for an `encoded` service. At least `IMAGE_SIZE`",
    )
    fit: Fit = setting(
        "RESIZE",
        choice(Fit),
        Fit.CROP,
        "for tensors: `crop` cuts out the centre, `stretch` distorts the picture to a square, `letterbox` shows all of "
        "it between bars",
    )
    padding: int = setting("PADDING", whole(0, 255), 114, "for `letterbox`: the grey of the bars")
    mean: tuple[float, float, float] = setting(
        "CHANNEL_MEAN",
        triple(presets=MEANS),
        (127.0, 127.0, 127.0),
        "for tensors of floating point: `(value - mean) / scale` of red, green and blue; or, for both settings, a "
        "name: `imagenet` (torchvision's), `tensorflow` (-1 to 1), `unit` (0 to 1), `none` (0 to 255)",
        shown="127,127,127",
    )
    scale: tuple[float, float, float] = setting(
        "CHANNEL_SCALE",
        triple(allow_zero=False, presets=SCALES),
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
    output: OutputKind = setting(
        "OUTPUT",
        choice(OutputKind),
        OutputKind.CLASSES,
        "what clients get; `classes`: names and scores of the best classes, of an output `[N, classes]`; `scores`: "
        "each class's score; `raw`: every output (or `OUTPUT_NAME` alone) as it is, of detectors, segmenters and "
        "embedders",
    )
    activation: Activation | None = setting(
        "ACTIVATION",
        optional(Activation),
        None,
        "for `classes` and `scores`: what is applied to the output here; `softmax` to logits of which one class is "
        "right, `sigmoid` where several may be",
        shown="none",
    )
    output_form: OutputForm = setting(
        "OUTPUT_FORM",
        choice(OutputForm),
        OutputForm.PROBABILITIES,
        "the earlier name of `ACTIVATION`: `logits` is `softmax`, `probabilities` is `none`",
    )
    labels: str = setting(
        "LABELS",
        TEXT,
        "imagenet",
        "for `classes`: `imagenet`, `imagenet-background` (1,001 classes), a UTF-8 file in the app, one name a line, "
        "or `service`: the names that Triton has in the output's `label_filename`",
    )
    golden: str = setting(
        "GOLDEN",
        TEXT,
        "",
        "a folder in the app with photographs and `expected.json`, what the model must make of them "
        "([golden photographs](../golden.md))",
    )
    golden_enforce: bool = setting(
        "GOLDEN_ENFORCE",
        FLAG,
        False,
        "`true`: the service is not ready unless its golden photographs match",
        shown="no",
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
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that a call needs: keys, pins and a client certificate."""
        if self.tls is not Tls.REQUIRED:
            return ()
        keys = (self.primary_key_secret, self.secondary_key_secret) if self.auth in {Auth.KEY, Auth.BEARER} else ()
        pins = () if self.trust is Trust.PUBLIC else (self.pins_secret,)
        return tuple(name for name in (*keys, *pins, self.client_certificate_secret) if name)

    @property
    def activation_function(self) -> Activation:
        """The function that makes scores of the model's values, by ``ACTIVATION`` or else by ``OUTPUT_FORM``."""
        if self.activation is not None:
            return self.activation
        return Activation.SOFTMAX if self.output_form is OutputForm.LOGITS else Activation.NONE

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
