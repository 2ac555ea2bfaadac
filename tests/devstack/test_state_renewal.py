"""What a start puts right in the stack's state: certificates, services, what an earlier version left, ports."""

import datetime as dt
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from devstack.authority import Authority
from devstack.control import ControlStore
from devstack.control.records import ServiceRecord
from devstack.state import (
    CERTIFICATE,
    PINS,
    PRIMARY_KEY,
    RENEW_BEFORE,
    SECONDARY_KEY,
    SERVICE,
    State,
    StateUnusable,
    place_services,
    prepare,
)
from devstack.vault import VaultStore
from tests.devstack.states import (
    ALL,
    DAMAGES,
    SERVICES,
    assert_renewed,
    contents,
    damaged,
    deployed,
    expire,
    in_force,
    refused,
    save,
)

# The renewal.


@pytest.mark.parametrize("remaining", [dt.timedelta(days=-1), RENEW_BEFORE - dt.timedelta(minutes=1)])
def test_a_certificate_about_to_expire_is_renewed_and_its_pin_with_it(state: State, remaining: dt.timedelta) -> None:
    expire(state, remaining)
    before, service = contents(state.folder), deployed(state)

    prepare(state.folder)

    assert_renewed(state)
    assert replace(deployed(state), chain=service.chain, key=service.key) == service
    changed = {name for name, content in contents(state.folder).items() if content != before[name]}
    assert changed == {
        SERVICES,
        f"vault/secrets/{PINS}.json",
        f"vault/secrets/{CERTIFICATE}.json",
    }


def test_a_certificate_with_time_left_stays(state: State) -> None:
    issued = expire(state, RENEW_BEFORE + dt.timedelta(minutes=1))

    prepare(state.folder)

    assert in_force(state) == x509.load_pem_x509_certificate(issued.certificate)


def test_an_interrupted_renewal_is_done_again(state: State) -> None:
    """Key Vault has the new certificate, and the control plane, which gets it last, still the old one."""
    expire(state, dt.timedelta(days=1))
    (state.control / "control.json.new").mkdir()  # where the file would be prepared
    with pytest.raises(StateUnusable):
        prepare(state.folder)
    (state.control / "control.json.new").rmdir()

    prepare(state.folder)

    assert_renewed(state)


def test_a_renewal_recovers_the_secrets_that_it_writes(state: State) -> None:
    expire(state, dt.timedelta(days=1))
    VaultStore(state.vault).delete(PINS)

    prepare(state.folder)

    assert_renewed(state)


@pytest.mark.parametrize(
    "lost",
    [
        lambda store, service: store.save(without_service=service.id),
        lambda store, service: store.save(service=replace(service, state="Failed")),
        lambda store, service: store.save(service=replace(service, tls=False, chain="", key="")),
    ],
    ids=["deleted", "failed", "without TLS"],
)
def test_a_service_that_the_gateway_cannot_use_is_made_anew(
    state: State, lost: Callable[[ControlStore, ServiceRecord], None]
) -> None:
    before = deployed(state)
    lost(ControlStore(state.control), before)
    VaultStore(state.vault).delete(PRIMARY_KEY)

    prepare(state.folder)

    assert_renewed(state)
    service, store = deployed(state), VaultStore(state.vault)
    assert (service.state, service.tls) == ("Succeeded", True)
    assert service.primary_key != before.primary_key
    assert (store.get(PRIMARY_KEY).value, store.get(SECONDARY_KEY).value) == (
        service.primary_key,
        service.secondary_key,
    )


@pytest.mark.parametrize("damage", ["empty", "truncated", "garbage", "text"])
def test_damaged_services_can_be_given_up_by_themselves(state: State, damage: str) -> None:
    VaultStore(state.vault).set("mine", "kept")
    file = state.folder / SERVICES
    DAMAGES[damage](file)

    line = refused(state.folder)

    assert line.startswith(f"the control plane's file {file} is damaged (")
    assert ": restore it from a copy, or delete it " in line
    file.unlink()
    prepare(state.folder)
    assert_renewed(state)
    assert VaultStore(state.vault).get("mine").value == "kept"


@pytest.mark.parametrize(
    ("spoilt", "cause"),
    [
        ({"chain": "no certificate"}, "the entry of imagenet in control.json holds no certificate"),
        ({"key": "no key"}, "the private key of imagenet in control.json holds no private key"),
        (
            {"key": Authority.create().issue().key.decode()},
            "the private key of imagenet in control.json is not the key of the entry of imagenet in control.json",
        ),
    ],
)
def test_an_entry_that_no_service_can_run_with_is_refused(state: State, spoilt: dict[str, Any], cause: str) -> None:
    save(state, replace(deployed(state), **spoilt))

    assert refused(state.folder) == damaged(state.folder, cause)


# Where the services listen.


def test_the_service_is_placed_where_the_options_say(state: State) -> None:
    for port in (7074, 9074, 0):
        place_services(state, port, frozenset())
        assert deployed(state).port == port


def test_a_service_of_ones_own_gives_way_to_the_stack(state: State) -> None:
    store = ControlStore(state.control)
    for name, port in (("first", 7071), ("second", 7080)):
        store.seed_service(name=name, primary_key="one", secondary_key="two", port=port)

    place_services(state, 7074, frozenset({7071, 7072}))

    ports = {service.name: service.port for service in ControlStore(state.control).services()}
    assert ports == {SERVICE: 7074, "first": 0, "second": 7080}


# A state of an earlier version, in which the FPGA service was no service of the control plane.


@pytest.fixture
def earlier(state: State) -> State:
    service, fpga = deployed(state), state.folder / "fpga"
    fpga.mkdir()
    (fpga / "certificate.pem").write_text(service.chain)
    (fpga / "certificate.key").write_text(service.key)
    (fpga / "keys.json").write_text(
        json.dumps({"primaryKey": service.primary_key, "secondaryKey": service.secondary_key})
    )
    shutil.rmtree(state.folder / "control")
    return state


def test_an_earlier_state_is_brought_over(earlier: State) -> None:
    fpga, vault = earlier.folder / "fpga", contents(earlier.vault)
    chain, key = ((fpga / f"certificate.{kind}").read_text() for kind in ("pem", "key"))
    keys = json.loads((fpga / "keys.json").read_text())

    prepare(earlier.folder)

    service = deployed(earlier)
    assert (service.chain, service.key) == (chain, key)
    assert {"primaryKey": service.primary_key, "secondaryKey": service.secondary_key} == keys
    assert sorted(contents(earlier.folder)) == sorted(ALL)
    assert contents(earlier.vault) == vault


def test_an_earlier_certificate_about_to_expire_is_renewed_whatever_its_key(earlier: State) -> None:
    issued = Authority.load(earlier.folder).issue(valid_for=dt.timedelta(days=1))
    (earlier.folder / "fpga" / "certificate.pem").write_bytes(issued.chain)
    (earlier.folder / "fpga" / "certificate.key").write_bytes(b"a renewal was interrupted before the certificate")

    prepare(earlier.folder)

    assert_renewed(earlier)
    assert sorted(contents(earlier.folder)) == sorted(ALL)


def test_an_interrupted_migration_goes_on(earlier: State) -> None:
    """The service is there already, and of what there was before something is left."""
    left = Path(shutil.copytree(earlier.folder / "fpga", earlier.folder.with_name("left")))
    prepare(earlier.folder)
    service = deployed(earlier)
    (left / "keys.json").unlink()
    left.rename(earlier.folder / "fpga")

    prepare(earlier.folder)

    assert deployed(earlier) == service
    assert sorted(contents(earlier.folder)) == sorted(ALL)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["certificate.pem", "certificate.key", "keys.json"])
def test_a_damaged_file_of_an_earlier_state_is_named_with_the_remedy(earlier: State, name: str, damage: str) -> None:
    DAMAGES[damage](earlier.folder / "fpga" / name)

    line = refused(earlier.folder)

    assert line.startswith(f"The state folder {earlier.folder} is damaged (")
    assert name in line.partition(". Delete it")[0]
    assert line.endswith(f": rm -r {earlier.folder}")


@pytest.mark.parametrize(
    "keys",
    [
        "[]",
        "null",
        "{}",
        '{"primaryKey": "a"}',
        '{"primaryKey": "a", "secondaryKey": null}',
        '{"primaryKey": "", "secondaryKey": "b"}',
    ],
)
def test_keys_of_an_earlier_state_that_are_none_are_refused(earlier: State, keys: str) -> None:
    (earlier.folder / "fpga" / "keys.json").write_text(keys)

    assert refused(earlier.folder) == damaged(earlier.folder, "keys.json does not hold a primaryKey and a secondaryKey")
