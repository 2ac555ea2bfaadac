"""The secrets that are given: read from files and prompts, and checked for their form before anything is called."""

import base64
import datetime as dt
import getpass
import hmac
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509

from shared.credentials.pins import pem, read_pins, split
from shared.credentials.secrets import Secret, usable_keys
from shared.errors import InvalidKey, InvalidPin, ServiceUnreachable
from shared.rotation.presented import Presented
from shared.rotation.service_probe import handshake
from shared.rotation.stored import read_certificate
from shared.rotation.validate import Requirements, UnreadableCertificate, validate
from shared.settings import Auth, ServiceSettings, Trust
from tools.store_secrets.arguments import Options, WrongCommand

# Key Vault's limit.
_LONGEST = 25_000


class AnotherFingerprint(InvalidPin):
    """What is presented is not what was expected: storing it is the last thing to do."""

    remedy = "Ask the service's owner for the fingerprint of its certificate."


type Ask = Callable[[str], str]


def given(options: Options, service: ServiceSettings, ask: Ask = getpass.getpass) -> dict[str, str]:
    """The values by the names of their secrets, in the order in which they are stored.

    The primary key comes last: of two keys, the one that was stored last is tried first.

    Raises:
        GatewayError: one cannot be used, and why; no value is repeated.
    """
    found: dict[str, str] = {}
    for kind, name in names(service).items():
        if not name:
            continue
        if kind in options.files:
            found[name] = _READERS[kind](_content(options.files[kind]), name, service)
        elif options.ask_keys and kind.endswith("_key") and (value := ask(f"{kind.replace('_', ' ')}: ").strip()):
            found[name] = _key(value.encode(), name, service)
    unused = [kind for kind in options.files if not names(service)[kind]]
    unused += ["pins"] if service.trust is Trust.PUBLIC and (options.pin or "pins" in options.files) else []
    unused += ["keys"] if service.auth not in {Auth.KEY, Auth.BEARER} and _has_keys(options) else []
    if unused:
        what = ", ".join(unused).replace("_", " ")
        raise WrongCommand(
            f"The settings use no {what}: see TRUST, AUTH, CLIENT_CERTIFICATE_SECRET and CONTROL_PLANE_NAME."
        )
    return found


def names(service: ServiceSettings) -> dict[str, str]:
    """The names of a service's secrets by their kinds, in the order in which they are stored."""
    return {
        "pins": service.pins_secret,
        "client_certificate": service.client_certificate_secret,
        # Only a service that is rotated has one.
        "certificate": service.certificate_secret if service.control_plane_name else "",
        "secondary_key": service.secondary_key_secret,
        "primary_key": service.primary_key_secret,
    }


def presented(service: ServiceSettings) -> list[tuple[Presented, str]]:
    """What each address of the service presents, with its PEM; nothing vouches for it.

    Raises:
        ServiceUnreachable: an address presents nothing.
    """
    found = []
    for address in service.addresses:
        try:
            der = handshake(service, address)
            found.append((Presented.of(der), pem(x509.load_der_x509_certificate(der))))
        except (OSError, ValueError) as error:
            what = "no TLS handshake could be made" if isinstance(error, OSError) else "it presents no certificate"
            raise ServiceUnreachable(f"The service's certificate cannot be read: {what}.") from error
    return found


def described(one: Presented) -> Iterator[str]:
    """Lines about a certificate that was merely seen."""
    yield f"SHA-256  {one.fingerprint}"
    yield f"names    {', '.join(one.names[:10]) or 'none'}"
    yield f"valid    {one.not_before:%Y-%m-%d} to {one.not_after:%Y-%m-%d}"


def pinned(service: ServiceSettings, fingerprint: str, before: str) -> str:
    """The pins with the presented certificates of that fingerprint beside them.

    Raises:
        InvalidPin: another certificate is presented.
        ServiceUnreachable: none is.
    """
    for one, text in presented(service):
        if hmac.compare_digest(one.fingerprint.encode(), fingerprint.encode()):
            return "".join(map(pem, split(before + text)))
    raise AnotherFingerprint(
        "The service presents a certificate of another fingerprint than --pin. Do not trust it before its owner has "
        "confirmed which one is right: somebody may be on the way to the service."
    )


def _has_keys(options: Options) -> bool:
    return options.ask_keys or bool(options.files.keys() & {"primary_key", "secondary_key"})


def _content(path: str) -> bytes:
    try:
        data = sys.stdin.buffer.read(_LONGEST + 1) if path == "-" else _read(Path(path))
    except OSError as error:
        raise WrongCommand(f"The file {path!r} cannot be read: {error.strerror}.") from error
    if len(data) > _LONGEST:
        raise WrongCommand(f"The file {path!r} is larger than Key Vault's 25 kB.")
    return data


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LONGEST + 1)


def _key(data: bytes, name: str, _: ServiceSettings) -> str:
    try:
        value = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidKey(f"The key for secret {name!r} is not text.", secret=name) from None
    [key], _faults = usable_keys({name: Secret(value, "", time.time())})
    return key


def _pins(data: bytes, name: str, _: ServiceSettings) -> str:
    """The certificates alone: a private key beside them does not get into the vault."""
    text = data.decode("utf-8", "replace")
    pins = read_pins(text, name, dt.datetime.now(dt.UTC))
    if pins.rejected:
        raise InvalidPin(f"{'; '.join(pins.rejected[:5])}.", secret=name)
    return "".join(map(pem, split(text)))


def _client(data: bytes, name: str, _: ServiceSettings) -> str:
    value = _as_text(data)
    try:
        fault = "" if read_certificate(value).has_own_key else "the private key is not the certificate's"
    except UnreadableCertificate as error:
        fault = str(error)
    if fault:
        raise InvalidKey(f"The client certificate for secret {name!r} cannot be used: {fault}.", secret=name)
    return value


def _certificate(data: bytes, name: str, service: ServiceSettings) -> str:
    value = _as_text(data)
    try:
        requirements = Requirements(service.certificate_names, allow_self_signed=True)
        fault = validate(read_certificate(value), requirements, dt.datetime.now(dt.UTC))
    except UnreadableCertificate as error:
        fault = str(error)
    if fault:
        raise InvalidPin(f"The certificate for secret {name!r} cannot be used: {fault}.", secret=name)
    return value


def _as_text(data: bytes) -> str:
    """PEM as it is; what is binary is PKCS#12, which Key Vault holds in base64."""
    return data.decode("utf-8-sig", "replace") if b"-----BEGIN" in data else base64.b64encode(data).decode()


_READERS: dict[str, Callable[[bytes, str, ServiceSettings], str]] = {
    "pins": _pins,
    "client_certificate": _client,
    "certificate": _certificate,
    "secondary_key": _key,
    "primary_key": _key,
}
