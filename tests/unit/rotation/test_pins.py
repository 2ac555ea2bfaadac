"""Changing the pins in Key Vault while people change them too, and as many as there is room for."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509

from devstack.authority import Authority, Issued, fingerprint
from shared.credentials.secrets import Secret, Version
from shared.errors import SecretMissing
from shared.rotation.observe import PinnedCertificates
from shared.rotation.pins import LARGEST, PinChange, write_pins
from tests.support.odd_certificates import self_signed

AUTHORITY = Authority.create()
OLD, NEW, PERSONS, RETIRED = (self_signed(subject=name) for name in ("old", "new", "a person's", "retired"))


class Vault:
    """The versions of one secret, all of the same second; ``before`` and ``after`` are what a person does meanwhile."""

    def __init__(self, *pins: Issued) -> None:
        self.texts = {"v0": text(*pins)} if pins else {}
        self.before: list[Callable[[], object]] = []
        self.after: list[Callable[[], object]] = []

    def read(self, _name: str, version: str | None = None) -> Secret:
        if not self.texts:
            raise SecretMissing("no such secret")
        version = version or list(self.texts)[-1]
        return Secret(self.texts[version], version, 1.0)

    def write(self, _name: str, value: str, **_: Any) -> Version:
        self._happens(self.before)
        made = self.store(value)
        self._happens(self.after)
        return made

    def versions(self, _name: str) -> list[Version]:
        if not self.texts:
            raise SecretMissing("no such secret")
        return [Version(one, 1.0) for one in reversed(self.texts)]

    def store(self, value: str) -> Version:
        self.texts[f"v{len(self.texts)}"] = value
        return Version(list(self.texts)[-1], 1.0)

    @property
    def pinned(self) -> frozenset[str]:
        return PinnedCertificates.of(self.read("pins")).fingerprints

    @staticmethod
    def _happens(what: list[Callable[[], object]]) -> None:
        if what:
            what.pop(0)()


def text(*pins: Issued) -> str:
    return "".join(one.certificate.decode() for one in pins)


def of(*pins: Issued) -> set[str]:
    return {fingerprint(one.certificate) for one in pins}


def change(*, dropped: tuple[Issued, ...] = (), spare: tuple[str, ...] = ()) -> PinChange:
    return PinChange(x509.load_pem_x509_certificate(NEW.certificate), of(*dropped), spare)


def test_a_pin_is_added_and_others_are_dropped() -> None:
    vault = Vault(OLD, RETIRED)

    assert write_pins(vault, "pins", change(dropped=(RETIRED,))) == of(RETIRED)  # type: ignore[arg-type]
    assert vault.pinned == of(OLD, NEW)
    assert write_pins(vault, "pins", change()) == frozenset()  # type: ignore[arg-type]
    assert len(vault.texts) == 2, "nothing to change is not written"


def test_the_first_pin_is_stored() -> None:
    vault = Vault()

    write_pins(vault, "pins", change())  # type: ignore[arg-type]

    assert vault.pinned == of(NEW)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_pin_that_a_person_adds_meanwhile_stays(moment: str) -> None:
    vault = Vault(OLD)
    getattr(vault, moment).append(lambda: vault.store(text(OLD, PERSONS)))

    write_pins(vault, "pins", change())  # type: ignore[arg-type]

    assert vault.pinned == of(OLD, PERSONS, NEW)


def test_a_pin_that_a_person_withdraws_meanwhile_stays_away() -> None:
    vault = Vault(OLD, RETIRED)
    vault.before.append(lambda: vault.store(text(OLD, PERSONS)))
    vault.before.append(lambda: vault.store(text(PERSONS)))

    write_pins(vault, "pins", change())  # type: ignore[arg-type]

    assert vault.pinned == of(PERSONS, NEW)


def test_the_pins_that_may_go_leave_in_their_order_until_there_is_room() -> None:
    many = [self_signed(subject=f"renewal {number} {'x' * 40}") for number in range(50)]
    vault = Vault(OLD, *many)
    assert len(text(OLD, *many)) > LARGEST
    spare = tuple(fingerprint(one.certificate) for one in many)

    dropped = write_pins(vault, "pins", change(spare=spare))  # type: ignore[arg-type]

    assert len(vault.read("pins").value) <= LARGEST
    assert len(vault.read("pins").value) > LARGEST - 2 * len(many[0].certificate)
    assert dropped == frozenset(spare[: len(dropped)]), "the oldest, and no more than needed"
    assert vault.pinned >= of(OLD, NEW)


def test_authorities_and_the_order_stay() -> None:
    vault = Vault(OLD)
    vault.store(AUTHORITY.pem.decode() + text(OLD))

    write_pins(vault, "pins", change())  # type: ignore[arg-type]

    assert vault.read("pins").value == AUTHORITY.pem.decode() + text(OLD, NEW)
