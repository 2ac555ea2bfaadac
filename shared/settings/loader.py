"""Reads the app settings and checks them as a whole: each by itself, and what they say together."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace

from shared.errors import Misconfigured
from shared.settings.access import read_access
from shared.settings.reader import SERVICE_PREFIX, Reader, whole
from shared.settings.schema import General, Limits, RotationSettings, Settings, VaultSettings
from shared.settings.service import (
    MEANS,
    SCALES,
    SERVICE_LABELS,
    Activation,
    Auth,
    Datatype,
    Fit,
    InputForm,
    OutputForm,
    OutputKind,
    Preprocessing,
    Protocol,
    ServiceSettings,
    Tls,
    Trust,
)
from shared.settings.telemetry import read_telemetry
from shared.settings.traffic import SplitSettings, check_members, is_split, read_split

_SERVICE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


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
    splits = _splits(names, reader)
    services = {name: _service(name, reader) for name in names if name not in splits}
    default = general.default_service or (names[0] if names else "")
    if names and default not in names:
        reader.fault("DEFAULT_SERVICE", f"is {default!r}, which SERVICES does not list")
    rotated = [service for service in services.values() if service.control_plane_name]
    _check_rotated(rotated, reader)
    _check_secrets(list(services.values()), reader)
    _check_outputs(splits, services, reader)
    needs_vault = any(service.reads_vault for service in services.values())
    settings = Settings(
        services=services,
        default_service=default,
        vault=reader.read(VaultSettings) if needs_vault else None,
        limits=reader.read(Limits),
        rotation=reader.read(RotationSettings) if rotated else None,
        splits=splits,
        telemetry=read_telemetry(reader),
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


def _splits(names: list[str], reader: Reader) -> dict[str, SplitSettings]:
    """The services that spread their requests over others."""
    readers = {name: reader.within(prefix(name), service=name) for name in names}
    splits = {name: read_split(own) for name, own in readers.items() if is_split(own)}
    for name, split in splits.items():
        check_members(split, readers[name], names, splits)
    return splits


def _check_outputs(
    splits: Mapping[str, SplitSettings], services: Mapping[str, ServiceSettings], reader: Reader
) -> None:
    """A split's clients get answers of one form, whichever member scores."""
    for name, split in splits.items():
        kinds = {services[member].output for member, _ in split.weights if member in services}
        if len(kinds) > 1:
            reader.fault(f"{prefix(name)}TRAFFIC", f"names services with different OUTPUT: {', '.join(sorted(kinds))}")


def _service(name: str, reader: Reader) -> ServiceSettings:
    own = reader.within(prefix(name), service=name)
    preprocessing = _with_preset(own.read(Preprocessing, resize=0), own)
    service = own.read(ServiceSettings, name=name, preprocessing=preprocessing)
    if service.protocol is Protocol.OPEN_INFERENCE:
        form = InputForm.ENCODED if service.input_type is Datatype.BYTES else InputForm.DISCOVERED
        service = replace(service, input_form=service.input_form if own.text("INPUT_FORM") else form)
        if not service.model:
            own.fault("MODEL", "is missing: this protocol's requests name the model")
    if service.output is OutputKind.RAW:
        service = replace(service, output_name=own.text("OUTPUT_NAME"))
    _check_input(service, own)
    _check_output(service, own)
    _check_trust(service, own)
    if service.golden_enforce and not service.golden:
        own.fault("GOLDEN_ENFORCE", "is set, but GOLDEN names no folder of photographs")
    return _with_open_ones(service, own) if service.is_discovered else _with_sizes(service, own)


def _with_preset(how: Preprocessing, own: Reader) -> Preprocessing:
    """The name of a preset in one of the two settings is meant for both."""
    mean, scale = own.text("CHANNEL_MEAN"), own.text("CHANNEL_SCALE")
    if not scale and mean in SCALES:
        return replace(how, scale=SCALES[mean])
    return replace(how, mean=MEANS[scale]) if not mean and scale in MEANS else how


def _check_input(service: ServiceSettings, own: Reader) -> None:
    is_file = service.input_type is Datatype.BYTES
    if service.input_type and service.input_form is (InputForm.TENSOR if is_file else InputForm.ENCODED):
        own.fault("INPUT_TYPE", f"is {service.input_type}, which contradicts the INPUT_FORM {service.input_form}")
    fit = service.preprocessing.fit
    if fit is not Fit.CROP:
        if service.input_form is InputForm.ENCODED:
            own.fault("RESIZE", f"is {fit}, but the service gets files, which it resizes itself; see INPUT_FORM")
        if own.text("IMAGE_RESIZE"):
            own.fault("IMAGE_RESIZE", f"is set, but RESIZE is {fit}, which has no crop: IMAGE_SIZE alone is needed")


def _check_output(service: ServiceSettings, own: Reader) -> None:
    is_raw, named = service.output is OutputKind.RAW, service.output_form is OutputForm.LOGITS
    if own.text("OUTPUT_FORM") and service.activation not in {None, Activation.SOFTMAX if named else Activation.NONE}:
        own.fault(
            "OUTPUT_FORM", f"is {service.output_form}, which contradicts ACTIVATION={service.activation}: remove it"
        )
    if is_raw and service.activation_function is not Activation.NONE:
        key = "ACTIVATION" if service.activation else "OUTPUT_FORM"
        own.fault(key, "is set, but OUTPUT is raw, whose numbers stay as they are; scores may be meant")
    if is_raw and own.text("LABELS"):
        own.fault("LABELS", "is set, but OUTPUT is raw, which has no classes to name; classes may be meant")
    if service.labels == SERVICE_LABELS and service.protocol is not Protocol.OPEN_INFERENCE:
        own.fault("LABELS", "is service, but only Triton names its classes: PROTOCOL must be open-inference")


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
