"""What there is of certificates at one moment, and what to say about it. No I/O, and no clock of its own."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from shared.errors import InvalidPin
from shared.trust import judge, observer, secrets
from shared.trust.certificates import fingerprint as whole_fingerprint
from shared.trust.certificates import is_authority, read_pins
from shared.trust.judge import Demands, UnreadableCertificate, names

_HEAD = ("", "fingerprint", "valid until", "for")


@dataclass(frozen=True)
class View:
    """The latest certificate in Key Vault, the one that the service presents, and those that gateways trust.

    ``desired`` and ``served`` are None where there is none. ``refusal`` is what the rotation has against the desired
    one, empty where it has nothing; ``notes`` say what is wrong with the secrets themselves.
    """

    desired: x509.Certificate | None
    served: x509.Certificate | None
    pinned: tuple[x509.Certificate, ...]
    refusal: str = ""
    notes: tuple[str, ...] = ()

    @property
    def served_is_trusted(self) -> bool:
        """Whether a gateway's handshake with the service succeeds, as far as the pins go: one may be its issuer's."""
        served = self.served
        return served is not None and any(pin == served or _has_issued(pin, served) for pin in self.pinned)


@dataclass(frozen=True)
class Secret:
    """A secret of Key Vault by its name; ``value`` is None where it has no enabled version."""

    name: str
    value: str | None


def view(
    certificate: Secret, pins: Secret, served: x509.Certificate | None, demands: Demands, now: dt.datetime
) -> View:
    """Make the view of what was found at the time ``now`` (with a time zone)."""
    notes = []
    pinned: tuple[x509.Certificate, ...] = ()
    try:
        found = read_pins(pins.value or "", pins.name, now)
    except InvalidPin as error:
        notes.append(error.detail)
    else:
        pinned = tuple(x509.load_pem_x509_certificates(found.bundle))
        notes += [f"{what[0].upper()}{what[1:]}." for what in found.rejected]
    try:
        wanted = _read(certificate)
    except UnreadableCertificate as error:
        notes.append(f"The secret {certificate.name!r} cannot be used: {error}.")
        return View(None, served, pinned, notes=tuple(notes))
    if wanted is None:
        notes.append(f"Key Vault holds no enabled version of the secret {certificate.name!r}.")
        return View(None, served, pinned, notes=tuple(notes))
    return View(wanted.leaf, served, pinned, judge.judge(wanted, demands, now, served), tuple(notes))


def _read(certificate: Secret) -> judge.Certificate | None:
    if not certificate.value:
        return None
    return judge.read(observer.content(secrets.Secret(certificate.value, version="", created=0.0)))


def table(seen: View, now: dt.datetime) -> list[str]:
    """A row for each certificate, by where it is."""
    places = [("Key Vault, latest", seen.desired), ("served", seen.served)]
    places += [("pinned", pin) for pin in seen.pinned] or [("pinned", None)]
    rows = [_HEAD, *((place, *_cells(found, now)) for place, found in places)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def verdict(seen: View, now: dt.datetime) -> list[str]:
    """Whether all agree, and if not, what is to be said; a sentence a line."""
    said = [*seen.notes, *_troubles(seen, now)]
    if not said and seen.desired is not None and seen.desired == seen.served:
        # An authority was pinned by a person, and stays.
        others = sum(pin != seen.desired and not is_authority(pin) for pin in seen.pinned)
        said.append(
            "Key Vault, the service and the gateways' pins agree."
            if not others
            else f"What Key Vault asks for is served; {_counted(others)} to be dropped after the grace time."
        )
    return said


def _troubles(seen: View, now: dt.datetime) -> Iterator[str]:
    if seen.served is None:
        yield "The service presents no certificate: nothing listens there, or without TLS."
    elif seen.served.not_valid_after_utc <= now:
        yield "What is served has expired: no new connection succeeds until Key Vault gets another (`certificate new`)."
    elif not seen.served_is_trusted:
        yield "What is served is not pinned: no new connection of a gateway succeeds."
    if seen.desired is None:
        return
    if seen.refusal:
        does = "warns" if seen.desired == seen.served else "refuses Key Vault's latest"
        yield f"The rotation {does}: {seen.refusal}."
    elif seen.served is not None and seen.desired != seen.served:
        pinned = "it is pinned already" if seen.desired in seen.pinned else "the rotation pins it first"
        yield f"Key Vault's latest is not served yet: {pinned}."


def line(seen: View) -> str:
    """A view in one line."""
    pins = " ".join(map(_short, seen.pinned)) or "-"
    return f"Key Vault {_short(seen.desired)}  served {_short(seen.served)}  pinned {pins}"


def changes(before: View, after: View) -> list[str]:
    """What has happened from one view to the next, in words."""
    said = []
    if after.desired != before.desired:
        judged = f", which the rotation refuses: {after.refusal}" if after.refusal else ""
        said.append(f"Key Vault has {'another version' if after.desired else 'no certificate'}{judged}")
    said += [f"{_short(pin)} is pinned" for pin in after.pinned if pin not in before.pinned]
    if after.served != before.served:
        said.append(f"{_short(after.served)} is served" if after.served else "nothing is served")
    said += [f"{_short(pin)} is no longer pinned" for pin in before.pinned if pin not in after.pinned]
    return said


def fingerprint(certificate: x509.Certificate) -> str:
    """The beginning of the SHA-256 of the certificate's DER form, as the gateway's log tells it."""
    return whole_fingerprint(certificate)[:16]


def until(end: dt.datetime, now: dt.datetime) -> str:
    """A moment, and how far away it is."""
    return f"{end:%Y-%m-%d %H:%M:%S} UTC, {left(end, now)}"


def left(end: dt.datetime, now: dt.datetime) -> str:
    """How far away a moment is, roughly."""
    time = end - now
    if time <= dt.timedelta():
        return "expired"
    for unit, name in ((dt.timedelta(days=1), "days"), (dt.timedelta(hours=1), "h"), (dt.timedelta(minutes=1), "min")):
        if time >= 2 * unit:
            return f"{time / unit:.0f} {name} left"
    return f"{time.total_seconds():.0f} s left"


def _cells(found: x509.Certificate | None, now: dt.datetime) -> Sequence[str]:
    if found is None:
        return ("-", "-", "-")
    return (fingerprint(found), until(found.not_valid_after_utc, now), ", ".join(names(found)) or "no name")


def _has_issued(issuer: x509.Certificate, child: x509.Certificate) -> bool:
    try:
        child.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _short(found: x509.Certificate | None) -> str:
    return fingerprint(found)[:8] if found else "-"


def _counted(pins: int) -> str:
    return "another pin is" if pins == 1 else f"{pins} other pins are"
