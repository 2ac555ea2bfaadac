"""What the commands do and print."""

import argparse
import datetime as dt
import shlex
import time

from cryptography import x509

from devstack import stack
from devstack.authority import LOOPBACK_NAMES, Issued
from devstack.certificate.making import make
from devstack.certificate.running import RunningStack
from devstack.certificate.view import changes, fingerprint, left, line, table, until, verdict
from devstack.errors import CommandError

# Seconds between two observations.
_INTERVAL = 0.5

# How long a gateway may take to read the pins, beside the time between two readings; in seconds.
_READING = 5.0


def show(running: RunningStack) -> None:
    """Print the certificates, and whether they agree."""
    view, now = running.observe(), _now()
    _print(*table(view, now), "", *verdict(view, now))


def watch(running: RunningStack) -> None:
    """Print the certificates, and then a line at each change, until the process is interrupted."""
    view = running.observe()
    _print(f"{_clock()}  {line(view)}")
    while True:
        time.sleep(_INTERVAL)
        before, view = view, running.observe()
        happened = changes(before, view)
        if happened:
            _print(f"{_clock()}  {line(view)}  ({'; '.join(happened)})")


def new(running: RunningStack, options: argparse.Namespace) -> None:
    """Put a certificate into Key Vault, and print what the rotation will do."""
    names = options.names or LOOPBACK_NAMES
    valid_for = dt.timedelta(seconds=options.seconds) if options.seconds else dt.timedelta(days=options.days)
    issued = make(running.authority, valid_for, options.kind, names)
    running.store(issued)
    _print(f"{_stored(running, issued)}.", "")
    refusal = running.observe().refusal
    if refusal:
        _print(
            f"The rotation must refuse it: {refusal}. It leaves the service and the pins as they are.",
            f"To end this state, store a valid one: {_command(running, 'new')}",
        )
    else:
        _print(*_next_steps(running))


def expire(running: RunningStack, seconds: int) -> None:
    """Let the service present a certificate that is near its end."""
    # The certificate is stored first: the rotation refuses it, and so changes nothing during the other steps.
    wait = running.refresh_seconds + min(_READING, running.refresh_seconds)
    issued = running.authority.issue(valid_for=dt.timedelta(seconds=seconds + wait))
    leaf = x509.load_pem_x509_certificate(issued.certificate)
    running.store(issued)
    _print(f"{_stored(running, issued)};")
    _pin(running, leaf)
    _print(f"it is pinned beside the others, and in {wait:g} s every gateway has read that;")
    time.sleep(wait)
    # A reconciliation run that was under way may have overwritten the pins.
    _pin(running, leaf)
    running.deploy(issued)
    _check_served(running, leaf)
    _print(
        f"the service presents it, {left(leaf.not_valid_after_utc, _now())}.",
        "",
        "Until then the rotation warns. Afterwards open connections continue, but new ones fail: a gateway that",
        "starts, or has been idle for some minutes, cannot score, and reports why.",
        f"To end this state, before or after: {_command(running, 'new')}",
        f"Watch it: {_command(running, 'show --watch')}",
    )


def _pin(running: RunningStack, leaf: x509.Certificate) -> None:
    pinned = running.observe().pinned
    if leaf not in pinned:
        running.pin([*pinned, leaf])


def _check_served(running: RunningStack, leaf: x509.Certificate) -> None:
    """Check that the service presents a certificate, within the time that the rotation allows too.

    Raises:
        CommandError: it does not.
    """
    deadline = time.monotonic() + running.rotation.settling_seconds
    while running.observe().served != leaf:
        if time.monotonic() > deadline:
            raise CommandError("The control plane's update succeeded, but the service presents another certificate")
        time.sleep(_INTERVAL)


def _next_steps(running: RunningStack) -> list[str]:
    rotation = running.rotation
    steps = [
        f"sees it within seconds (ROTATION_SCHEDULE {running.schedule}), and pins it beside the old one;",
        f"waits until every gateway has read that (CREDENTIALS_REFRESH_SECONDS {running.refresh_seconds:g});",
        "has the control plane deploy it to the service, and verifies that by a handshake and a scored request;",
        f"and drops the old pin after the grace time (ROTATION_GRACE_SECONDS {rotation.grace_seconds:g}).",
    ]
    numbered = (f"  {number}. {step}" for number, step in enumerate(steps, 1))
    return ["The rotation of a running gateway", *numbered, "", f"Watch it: {_command(running, 'show --watch')}"]


def _stored(running: RunningStack, issued: Issued) -> str:
    leaf = x509.load_pem_x509_certificate(issued.certificate)
    end = until(leaf.not_valid_after_utc, _now())
    return f"Key Vault's {running.service.certificate_secret} is {fingerprint(leaf)} now, valid until {end}"


def _command(running: RunningStack, action: str) -> str:
    """A command to copy."""
    folder = "" if running.folder == stack.FOLDER else f" --state {shlex.quote(str(running.folder))}"
    return f".venv/bin/python -m devstack certificate {action}{folder}"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _clock() -> str:
    return f"{_now():%H:%M:%S} UTC"


def _print(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)
