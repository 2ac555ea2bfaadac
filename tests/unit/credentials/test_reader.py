"""What a read of a service's credentials consists of, by the service's kinds of authentication and trust."""

import datetime as dt
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from devstack.authority import Authority, fingerprint
from shared.credentials.cache import CredentialReader, Credentials
from shared.credentials.pins import ClientCertificate
from shared.credentials.secrets import Secret
from shared.errors import InvalidKey, InvalidPin, SecretMissing, VaultThrottled
from shared.settings import Auth, ServiceSettings, Trust

PINNED, PUBLIC = Authority.create(), Authority.create()
NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(6) as executor:
        yield executor


class Vault:
    """Secrets, and the names of those that were read; an exception is raised after ``delay`` seconds."""

    def __init__(self, delay: float = 0.0, **secrets: str | Exception) -> None:
        self.secrets = secrets
        self.names: list[str] = []
        self.delay = delay

    def read(self, name: str) -> Secret:
        self.names.append(name)
        value = self.secrets[name]
        if isinstance(value, VaultThrottled):
            time.sleep(self.delay)
        if isinstance(value, Exception):
            raise value
        return Secret(value, "version", 1.0)

    async def credentials(self, executor: ThreadPoolExecutor, settings: dict[str, Any], **more: Any) -> Credentials:
        names = {"primary_key_secret": "one", "secondary_key_secret": "two", "pins_secret": "pins"}
        service = ServiceSettings("cats", "x", **{**names, **settings})
        return await CredentialReader(service, self.read, executor, **more)()


def vault() -> Vault:
    return Vault(one="k1", two="k2", pins=PINNED.pem.decode(), client="the client's")


@pytest.mark.parametrize(
    ("auth", "keys", "read"),
    [
        (Auth.KEY, ("k1", "k2"), ["one", "pins", "two"]),
        (Auth.BEARER, ("Bearer k1", "Bearer k2"), ["one", "pins", "two"]),
        (Auth.ENTRA, ("Bearer a-token",), ["pins"]),
        (Auth.NONE, (), ["pins"]),
    ],
)
async def test_what_authorizes_a_call(
    executor: ThreadPoolExecutor, auth: Auth, keys: tuple[str, ...], read: list[str]
) -> None:
    secrets = vault()

    credentials = await secrets.credentials(executor, {"auth": auth}, read_token=lambda: "a-token")

    assert credentials.keys == keys
    assert sorted(secrets.names) == read


@pytest.mark.parametrize("trust", Trust)
async def test_what_a_connection_trusts(executor: ThreadPoolExecutor, tmp_path: Path, trust: Trust) -> None:
    (tmp_path / "public.pem").write_bytes(PUBLIC.pem)
    secrets = vault()

    credentials = await secrets.credentials(executor, {"trust": trust, "trust_file": str(tmp_path / "public.pem")})

    assert ("pins" in secrets.names) is (PINNED.pem in credentials.pins.bundle) is (trust is not Trust.PUBLIC)
    assert (PUBLIC.pem.strip() in credentials.pins.bundle) is (trust is not Trust.PINS)
    assert credentials.pins.presents is None


@pytest.mark.parametrize("days", [90, 3])
async def test_a_client_certificate_is_presented_and_its_end_is_warned_of(
    executor: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture, days: int
) -> None:
    presented = ClientCertificate(b"chain", b"key", "f", NOW + dt.timedelta(days, 60))
    values: list[str] = []

    def identity(value: str) -> ClientCertificate:
        values.append(value)
        return presented

    settings = {"client_certificate_secret": "client"}
    credentials = await vault().credentials(executor, settings, read_identity=identity)

    assert credentials.pins.presents is presented
    assert credentials.pins.fingerprints == (fingerprint(PINNED.pem),)
    assert values == ["the client's"]
    warned = "service cats: the client certificate in secret 'client' expires on" in caplog.text
    assert warned is (days == 3)


async def test_a_client_certificate_that_cannot_be_used_is_an_error_with_its_cause(
    executor: ThreadPoolExecutor,
) -> None:
    def identity(_value: str) -> ClientCertificate:
        raise ValueError("it contains no private key")

    with pytest.raises(InvalidKey) as caught:
        await vault().credentials(executor, {"client_certificate_secret": "client"}, read_identity=identity)

    assert caught.value.detail == (
        "The client certificate in secret 'client' cannot be used: it contains no private key."
    )


@pytest.mark.parametrize("settings", [{"auth": Auth.ENTRA}, {"client_certificate_secret": "client"}])
async def test_without_their_source_tokens_and_certificates_are_a_fault(
    executor: ThreadPoolExecutor, settings: dict[str, Any]
) -> None:
    with pytest.raises(RuntimeError, match="needs a"):
        await vault().credentials(executor, settings)


async def test_of_several_failures_that_of_the_first_secret_is_raised_also_where_it_is_the_last(
    executor: ThreadPoolExecutor,
) -> None:
    slow = Vault(0.05, one=VaultThrottled("slow"), two="k2", pins="nonsense")
    quick = Vault(0.05, one="k1", two=SecretMissing("optional"), pins="nonsense")

    with pytest.raises(VaultThrottled):
        await slow.credentials(executor, {})
    with pytest.raises(InvalidPin):
        await quick.credentials(executor, {})


async def test_rejected_pins_are_reported(executor: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
    broken = "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n"
    secrets = Vault(one="k1", two="k2", pins=broken + PINNED.pem.decode())

    await secrets.credentials(executor, {})

    assert "service cats: certificate 1 in secret 'pins' cannot be parsed" in caplog.text
