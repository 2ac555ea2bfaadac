"""The certificates found at one moment, and how they are printed. No I/O, and no clock."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from shared.credentials.pins import fingerprint as whole_fingerprint
from shared.credentials.pins import is_authority, read_pins
from shared.errors import InvalidPin
from shared.rotation.presented import Presented, names
from shared.rotation.stored import read_certificate
from shared.rotation.validate import Certificate, Requirements, UnreadableCertificate, validate

_HEAD = ("", "fingerprint", "valid until", "for")


@dataclass(frozen=True)
class View:
    """The latest certificate in Key Vault, the one that the service presents, and those that gateways trust.

    ``desired`` and ``served`` are None where there is none. ``refusal`` is the reason for which the rotation refuses
    the desired one, or empty; ``notes`` describe what is wrong with the secrets themselves.
    """

    desired: x509.Certificate | None
    served: x509.Certificate | None
    pinned: tuple[x509.Certificate, ...]
    refusal: str = ""
    notes: tuple[str, ...] = ()

    @property
    def served_is_trusted(self) -> bool:
        """Whether a pin is the served certificate or its issuer's, so that a gateway's handshake succeeds."""
        served = self.served
        return served is not None and any(pin == served or _is_issuer(pin, served) for pin in self.pinned)


@dataclass(frozen=True)
class Secret:
    """A secret of Key Vault; ``value`` is None where it has no enabled version."""

    name: str
    value: str | None


def view(
    certificate: Secret, pins: Secret, served: x509.Certificate | None, requirements: Requirements, now: dt.datetime
) -> View:
    """The view of the certificates found at the time ``now`` (with a time zone)."""
    notes = []
    pinned: tuple[x509.Certificate, ...] = ()
    try:
        read = read_pins(pins.value or "", pins.name, now)
    except InvalidPin as error:
        notes.append(error.detail)
    else:
        pinned = tuple(x509.load_pem_x509_certificates(read.bundle))
        notes += [f"{reason[0].upper()}{reason[1:]}." for reason in read.rejected]
    try:
        desired = _read(certificate)
    except UnreadableCertificate as error:
        notes.append(f"The secret {certificate.name!r} cannot be used: {error}.")
        return View(None, served, pinned, notes=tuple(notes))
    if desired is None:
        notes.append(f"Key Vault has no enabled version of the secret {certificate.name!r}.")
        return View(None, served, pinned, notes=tuple(notes))
    presented = None if served is None else Presented.of(served.public_bytes(serialization.Encoding.DER))
    return View(desired.leaf, served, pinned, validate(desired, requirements, now, presented), tuple(notes))


def _read(certificate: Secret) -> Certificate | None:
    return read_certificate(certificate.value) if certificate.value else None


def table(view: View, now: dt.datetime) -> list[str]:
    """The lines of a table with a row for each certificate."""
    places = [("Key Vault, latest", view.desired), ("served", view.served)]
    places += [("pinned", pin) for pin in view.pinned] or [("pinned", None)]
    rows = [_HEAD, *((place, *_cells(certificate, now)) for place, certificate in places)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def verdict(view: View, now: dt.datetime) -> list[str]:
    """Whether the certificates agree, and what is wrong if they do not; a sentence a line."""
    sentences = [*view.notes, *_problems(view, now)]
    if not sentences and view.desired is not None and view.desired == view.served:
        # An authority was pinned by an operator, and stays.
        others = sum(pin != view.desired and not is_authority(pin) for pin in view.pinned)
        pins = "another pin" if others == 1 else f"{others} other pins"
        sentences.append(
            "Key Vault, the service and the gateways' pins agree."
            if not others
            else f"The service presents Key Vault's certificate; {pins} will be dropped after the grace time."
        )
    return sentences


def _problems(view: View, now: dt.datetime) -> Iterator[str]:
    if view.served is None:
        yield "The service presents no certificate: nothing listens there, or without TLS."
    elif view.served.not_valid_after_utc <= now:
        yield "The served certificate has expired: new connections fail until Key Vault gets one (`certificate new`)."
    elif not view.served_is_trusted:
        yield "The served certificate is not pinned: new connections of a gateway fail."
    if view.desired is None:
        return
    if view.refusal:
        does = "warns" if view.desired == view.served else "refuses Key Vault's latest"
        yield f"The rotation {does}: {view.refusal}."
    elif view.served is not None and view.desired != view.served:
        pinned = "it is pinned already" if view.desired in view.pinned else "the rotation pins it first"
        yield f"Key Vault's latest is not served yet: {pinned}."


def line(view: View) -> str:
    """A view in one line."""
    pins = " ".join(map(_short, view.pinned)) or "-"
    return f"Key Vault {_short(view.desired)}  served {_short(view.served)}  pinned {pins}"


def changes(before: View, after: View) -> list[str]:
    """What has changed from one view to the next."""
    changed = []
    if after.desired != before.desired:
        refused = f", which the rotation refuses: {after.refusal}" if after.refusal else ""
        changed.append(f"Key Vault has {'another version' if after.desired else 'no certificate'}{refused}")
    changed += [f"{_short(pin)} is pinned" for pin in after.pinned if pin not in before.pinned]
    if after.served != before.served:
        changed.append(f"{_short(after.served)} is served" if after.served else "nothing is served")
    changed += [f"{_short(pin)} is no longer pinned" for pin in before.pinned if pin not in after.pinned]
    return changed


def fingerprint(certificate: x509.Certificate) -> str:
    """The beginning of the SHA-256 of the certificate's DER form, as in the gateway's log."""
    return whole_fingerprint(certificate)[:16]


def until(end: dt.datetime, now: dt.datetime) -> str:
    """A time, and how long it is until then."""
    return f"{end:%Y-%m-%d %H:%M:%S} UTC, {left(end, now)}"


def left(end: dt.datetime, now: dt.datetime) -> str:
    """How long it is until a time, roughly."""
    time = end - now
    if time <= dt.timedelta():
        return "expired"
    for unit, name in ((dt.timedelta(days=1), "days"), (dt.timedelta(hours=1), "h"), (dt.timedelta(minutes=1), "min")):
        if time >= 2 * unit:
            return f"{time / unit:.0f} {name} left"
    return f"{time.total_seconds():.0f} s left"


def _cells(certificate: x509.Certificate | None, now: dt.datetime) -> Sequence[str]:
    if certificate is None:
        return ("-", "-", "-")
    end = until(certificate.not_valid_after_utc, now)
    return (fingerprint(certificate), end, ", ".join(names(certificate)) or "no name")


def _is_issuer(issuer: x509.Certificate, child: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _short(certificate: x509.Certificate | None) -> str:
    return fingerprint(certificate)[:8] if certificate else "-"
