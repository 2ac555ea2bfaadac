"""The command: reads the secrets, checks them, stores them, prints the settings; see ``--help``."""

import asyncio
import logging
import os
from pathlib import Path

from shared.errors import (
    GatewayError,
    IdentityUnavailable,
    ServiceCertificateExpired,
    ServiceNameMismatch,
    ServiceUntrusted,
    VaultForbidden,
)
from shared.settings import ServiceSettings, Settings, Tls
from shared.telemetry import log
from tools.store_secrets import arguments, checks, inputs, settings
from tools.store_secrets.arguments import Options, WrongCommand
from tools.store_secrets.vault import Secrets

# Of a photograph for a check.
_LARGEST_IMAGE = 20_000_000

# The failures to which the certificate that the service presents is shown.
_OF_CERTIFICATE = (ServiceUntrusted, ServiceCertificateExpired, ServiceNameMismatch)


def main(given: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options, level, has_endpoint = arguments.parse(given), log.level, "IDENTITY_ENDPOINT" in os.environ
    # What the gateway would log is printed here, once.
    log.setLevel(logging.CRITICAL)
    try:
        return _store_and_print(options)
    finally:
        # For who calls this within a program of its own.
        log.setLevel(level)
        if not has_endpoint:
            os.environ.pop("IDENTITY_ENDPOINT", None)


def _store_and_print(options: Options) -> int:
    try:
        values = settings.environ(options)
        if "IDENTITY_ENDPOINT" in values:
            # Of a local stack: azure-identity looks for it in the environment alone.
            os.environ.setdefault("IDENTITY_ENDPOINT", values["IDENTITY_ENDPOINT"])
        _run(options, settings.checked(values))
    except checks.Failed as failed:
        _print_failure(failed.step, failed.cause)
        return 1
    except GatewayError as error:
        _print_failure("preparation", error)
        if isinstance(error, IdentityUnavailable | VaultForbidden) and options.identity == "default":
            print("  The identity is your own sign-in here: az login, with --tenant for the vault's tenant.")
        elif isinstance(error, IdentityUnavailable):
            print("  --identity managed asks this machine's. A local stack's needs IDENTITY_HEADER: see --help.")
        return 1
    except KeyboardInterrupt:
        return 130
    print()
    print("\n".join(settings.lines(options, values)))
    return 0


def _run(options: Options, config: Settings) -> None:
    [service] = config.services.values()
    image = _image(options.image) if options.image else None
    found = inputs.given(options, service)
    secrets = Secrets(config.vault, service) if config.vault else None
    try:
        if secrets is not None:
            _prepare(options, service, secrets, found)
        if options.check:
            asyncio.run(_check(config, service, secrets, image))
        if secrets is not None:
            _store(options, secrets)
    finally:
        if secrets is not None:
            secrets.close()


def _prepare(options: Options, service: ServiceSettings, secrets: Secrets, found: dict[str, str]) -> None:
    """Read the vault, and add to the given secrets the pin that the service presents, where that is asked for."""
    secrets.fetch()
    _line("vault", "can be read")
    secrets.given = found
    if options.pin:
        name = service.pins_secret
        pins = inputs.pinned(service, options.pin, secrets.text(name))
        secrets.given = {name: pins, **{other: value for other, value in found.items() if other != name}}
    elif secrets.uses_pins and not secrets.text(service.pins_secret) and options.check:
        _show_presented(service)


async def _check(config: Settings, service: ServiceSettings, secrets: Secrets | None, image: bytes | None) -> None:
    try:
        async for step, result in checks.check(config, secrets, image):
            _line(step, result)
    except checks.Failed as failed:
        if isinstance(failed.cause, _OF_CERTIFICATE) and service.tls is Tls.REQUIRED:
            _show_presented(service)
        raise


def _store(options: Options, secrets: Secrets) -> None:
    if not options.write:
        for name, change in secrets.differences():
            _line("not stored", f"{name}: {change}; --write stores it")
        return
    for name in secrets.store():
        _line("stored", name)
    for name, change in secrets.differences():
        if change == "unchanged":
            _line("unchanged", name)


def _show_presented(service: ServiceSettings) -> None:
    """Show what the service presents, for a person to compare: nothing is trusted by it."""
    try:
        seen = inputs.presented(service)
    except GatewayError:
        return
    print("\nThe service presents this certificate, and nothing here says whether it is the right one:\n")
    for one, _ in seen:
        print("\n".join(f"  {line}" for line in inputs.described(one)))
    print("\nAsk the service's owner for the fingerprint, and if it is the same, pass it with --pin.\n")


def _image(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_IMAGE + 1)
    except OSError as error:
        raise WrongCommand(f"The file {str(path)!r} cannot be read: {error.strerror}.") from error
    if len(data) > _LARGEST_IMAGE:
        raise WrongCommand(f"The file {str(path)!r} is larger than {_LARGEST_IMAGE // 1_000_000} MB.")
    return data


def _print_failure(step: str, error: GatewayError) -> None:
    print(f"\nFAILED at {step}: {error.title} ({error.slug})\n  {error.detail}\n  {error.remedy or ''}".rstrip())


def _line(step: str, result: str) -> None:
    print(f"{step:<12}  {result}")
