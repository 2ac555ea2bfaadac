"""Services with one problem each: with the service itself, its keys or its pins.

Most are the healthy inference service with wrong settings. Two more processes: one with an expired certificate, and a
faulty one, which takes only small messages and gets its faults from a file.
"""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

from benchmarks.endurance.requests import LIMITS
from benchmarks.harness.launch import free_port
from benchmarks.harness.testbed import AUTHORITY_PINS, KEYS, OPEN, Testbed, service_settings, write_faults
from devstack.authority import Authority
from devstack.stack import Addresses
from devstack.state import PEM, PINS

_PINS = {"PINS_SECRET": PINS}
_HEALTHY = {**KEYS, **_PINS}
_MESSAGE_LIMIT = 16_384


def store_secrets(testbed: Testbed) -> None:
    """Put the wrong keys and pins into Key Vault, which reads its secrets when it starts."""
    vault = testbed.vault
    vault.set("wrong-keys-primary-key", "not-the-key")
    vault.set("wrong-keys-secondary-key", "nor-this-one")
    vault.set("disabled-secret-primary-key", "a-key", enabled=False)
    vault.set("no-pin-pins", "no certificate", content_type=PEM)
    vault.set("other-pin-pins", Authority.create("Another CA").pem.decode(), content_type=PEM)


async def start(testbed: Testbed, addresses: Addresses, faults: Path) -> Mapping[str, str]:
    """Start the two; returns the app settings of all services, in addition to those of the healthy ones.

    Raises:
        StackFailed: one of them cannot be started.
    """
    write_faults(faults, {})
    own = testbed.authority
    expired = await testbed.start_another_service("expired", own.issue(valid_for=dt.timedelta(hours=-1)))
    arguments = ("--message-limit", str(_MESSAGE_LIMIT), "--faults", str(faults))
    faulty = await testbed.start_another_service("faulty", own.issue(), *arguments)
    healthy, no_tls = addresses.fpga, addresses.identity.removesuffix("/msi/token")
    services: dict[str, tuple[str, Mapping[str, str]]] = {
        "no-secret": (healthy, _PINS),
        "disabled-secret": (healthy, _PINS),
        "no-pin": (healthy, KEYS),
        "wrong-keys": (healthy, _PINS),
        "other-pin": (healthy, KEYS),
        "other-name": (healthy, {**_HEALTHY, "TLS_NAME": "elsewhere.example"}),
        "other-model": (healthy, {**_HEALTHY, "MODEL": "other"}),
        "other-output": (healthy, {**_HEALTHY, "OUTPUT_NAME": "other"}),
        "expired": (expired, {**KEYS, **AUTHORITY_PINS}),
        "faulty": (faulty, {**KEYS, **AUTHORITY_PINS}),
        "no-tls": (no_tls, _HEALTHY),
        "nowhere": (f"127.0.0.1:{free_port()}", _HEALTHY),
    }
    settings = {**LIMITS, "SERVICES": ",".join(["imagenet", "imagenet-tensor", OPEN, *services])}
    for name, (address, given) in services.items():
        settings |= service_settings(name, address, given)
    return settings
