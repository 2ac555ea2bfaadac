"""What all instances share of a service, rotated or not: each part is read by itself, where it is kept.

Synchronous, for a thread. It contains no secret: of keys, only when they were stored.
"""

import socket
import ssl
import time
from collections.abc import Callable, Sequence

from shared.credentials.secrets import Secret
from shared.errors import (
    GatewayError,
    HandshakeFailed,
    InvalidPin,
    SecretDisabled,
    SecretMissing,
    ServiceNameUnresolved,
    ServiceUnreachable,
)
from shared.rotation import status
from shared.rotation.observe import Observation, PinnedCertificates
from shared.rotation.presented import Presented
from shared.rotation.service_probe import handshake
from shared.rotation.status import Json
from shared.settings import Auth, ServiceSettings, Tls, Trust

type ReadSecret = Callable[[str], Secret]

PARTS = ("served", "pinned", "stored", "keys", "rotation")

_DAY = 86_400.0

# What of a rotation's status is a part of its own here.
_ELSEWHERE = frozenset({"served", "pinned", "desired", "keys"})


def not_applicable(service: ServiceSettings) -> dict[str, str]:
    """The parts that a service does not have, and why not."""
    if service.tls is not Tls.REQUIRED:
        return dict.fromkeys(PARTS, "TLS is off (TLS=insecure-no-key-is-sent): no certificate, and no key is sent.")
    found = {}
    if service.trust is Trust.PUBLIC:
        found["pinned"] = "Public authorities are trusted (TRUST=public), and not pins."
    if service.auth is Auth.NONE:
        found["keys"] = "The service asks for no key (AUTH=none)."
    elif service.auth is Auth.ENTRA:
        found["keys"] = "A token of the app's identity authorizes the calls (AUTH=entra): there is no key to store."
    if not service.control_plane_name:
        found["stored"] = found["rotation"] = (
            "The gateway does not rotate this service (no CONTROL_PLANE_NAME): whoever runs it renews its certificate."
        )
    return found


def presented(service: ServiceSettings, address: str) -> Json:
    """What an address of a service presents in a handshake, or the problem; nothing vouches for it."""
    try:
        found = Presented.of(handshake(service, address))
    except (OSError, ValueError) as error:
        return {"address": address, "problem": _cause(error)}
    return {"address": address, "certificate": status.presented(found, time.time())}


def served(addresses: Sequence[Json]) -> Json:
    """What all addresses of a service present.

    Raises:
        GatewayError: none of them presents anything; the cause at the first.
    """
    problems = [one["problem"] for one in addresses if "problem" in one]
    if len(problems) == len(addresses):
        raise problems[0]
    return {"addresses": addresses}


def pinned(service: ServiceSettings, read: ReadSecret) -> Json:
    """What gateways trust.

    Raises:
        GatewayError: the pins cannot be read, or used; the cause.
    """
    found = PinnedCertificates.of(read(service.pins_secret))
    if not found.certificates:
        raise InvalidPin(f"Secret {service.pins_secret!r} contains no usable certificate.", secret=service.pins_secret)
    return {"changed_at": status.date(found.changed_at), "certificates": status.pins(found, time.time())}


def keys(service: ServiceSettings, read: ReadSecret) -> Json:
    """When each of a service's keys was stored; the secondary may be missing.

    Raises:
        GatewayError: they cannot be read; the cause.
    """
    try:
        secondary = _stored(read(service.secondary_key_secret))
    except (SecretMissing, SecretDisabled):
        secondary = None
    return {"primary": _stored(read(service.primary_key_secret)), "secondary": secondary}


def of_rotation(observed: Observation) -> Json:
    """Two parts: the certificate that is ``stored`` to be rotated to, and the state of the ``rotation``."""
    described = status.describe(observed)
    rotation = {name: value for name, value in described.items() if name not in _ELSEWHERE}
    if described["keys"] is not None:
        rotation["keys"] = {name: described["keys"][name] for name in ("rotation", "next_step")}
    if observed.problem is not None:
        rotation["problem"] = observed.problem
    return {"stored": {"certificate": described["desired"]}, "rotation": rotation}


def _cause(error: Exception) -> GatewayError:
    if isinstance(error, socket.gaierror):
        return ServiceNameUnresolved("The service's name does not resolve.")
    if isinstance(error, ssl.SSLError | ValueError):
        return HandshakeFailed("The address accepts the connection, and presents no certificate.")
    return ServiceUnreachable("No connection to the address could be made.")


def _stored(secret: Secret) -> Json:
    return {
        "version": secret.version,
        "stored_at": status.date(secret.created),
        "age_days": round((time.time() - secret.created) / _DAY, 2),
    }
