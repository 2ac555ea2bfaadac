"""What the commands do, step by step, and what they say meanwhile."""

import argparse
import datetime as dt
import shlex
import time

from cryptography import x509

from devstack import stack
from devstack.authority import LOOPBACK_NAMES, Issued
from devstack.certificate.errors import CommandFailed
from devstack.certificate.making import Kind, make
from devstack.certificate.running import RunningStack
from devstack.certificate.view import changes, fingerprint, left, line, table, until, verdict

# How often a watch looks, in seconds.
_PACE = 0.5

# What reading the pins may take a gateway, beside the time between two readings; in seconds.
_READING = 5.0


def show(running: RunningStack) -> None:
    """Print what there is, and whether it agrees."""
    seen, now = running.look(), _now()
    _say(*table(seen, now), "", *verdict(seen, now))


def watch(running: RunningStack) -> None:
    """Print what there is, and then a line at each change, until something interrupts it."""
    seen = running.look()
    _say(f"{_clock()}  {line(seen)}")
    while True:
        time.sleep(_PACE)
        before, seen = seen, running.look()
        happened = changes(before, seen)
        if happened:
            _say(f"{_clock()}  {line(seen)}  ({'; '.join(happened)})")


def new(running: RunningStack, options: argparse.Namespace) -> None:
    """Put a certificate into Key Vault, and say what comes of it."""
    names = options.names or LOOPBACK_NAMES
    issued = make(running.authority, dt.timedelta(days=options.days), _kind(options), names)
    running.store(issued)
    _say(f"{_stored(running, issued)}.", "")
    refusal = running.look().refusal
    if refusal:
        _say(
            f"The rotation must refuse it: {refusal}. It leaves the service and the pins as they are.",
            f"When you have seen enough, put a sound one behind it: {_command(running, 'new')}",
        )
    else:
        _say(*_what_comes(running))


def expire(running: RunningStack, seconds: int) -> None:
    """Let the service present a certificate that is near its end."""
    # In this order: from the first step on, the rotation has something against Key Vault's latest, and keeps still.
    wait = running.refresh_seconds + min(_READING, running.refresh_seconds)
    issued = running.authority.issue(valid_for=dt.timedelta(seconds=seconds + wait))
    leaf = x509.load_pem_x509_certificate(issued.certificate)
    running.store(issued)
    _say(f"{_stored(running, issued)};")
    _pin(running, leaf)
    _say(f"it is pinned beside the others, and in {wait:g} s every gateway has read that;")
    time.sleep(wait)
    # A tick of the rotation that was under way may have written the pins as it knew them.
    _pin(running, leaf)
    running.deploy(issued)
    _check_served(running, leaf)
    _say(
        f"the service presents it, {left(leaf.not_valid_after_utc, _now())}.",
        "",
        "Until then the rotation warns. Afterwards connections that are open go on, but no new one succeeds: a gateway",
        "that starts, or has been idle for some minutes, cannot score, and says why.",
        f"What helps, before and after: {_command(running, 'new')}",
        f"Watch it: {_command(running, 'show --watch')}",
    )


def _pin(running: RunningStack, leaf: x509.Certificate) -> None:
    pinned = running.look().pinned
    if leaf not in pinned:
        running.pin([*pinned, leaf])


def _check_served(running: RunningStack, leaf: x509.Certificate) -> None:
    """See that the service presents a certificate, within the time that the rotation gives it too.

    Raises:
        CommandFailed: it does not.
    """
    deadline = time.monotonic() + running.rotation.settling_seconds
    while running.look().served != leaf:
        if time.monotonic() > deadline:
            raise CommandFailed("The control plane's update succeeded, and the service presents another certificate")
        time.sleep(_PACE)


def _what_comes(running: RunningStack) -> list[str]:
    rotation = running.rotation
    steps = [
        f"sees it within seconds (ROTATION_SCHEDULE {running.schedule}), and pins it beside the old one;",
        f"waits until every gateway has read that (CREDENTIALS_REFRESH_SECONDS {running.refresh_seconds:g});",
        "has the control plane give it to the service, and verifies by a handshake and a scored request;",
        f"and drops the old pin after the grace time (ROTATION_GRACE_SECONDS {rotation.grace_seconds:g}).",
    ]
    numbered = (f"  {number}. {step}" for number, step in enumerate(steps, 1))
    return ["The rotation of a gateway that runs", *numbered, "", f"Watch it: {_command(running, 'show --watch')}"]


def _kind(options: argparse.Namespace) -> Kind:
    chosen = {
        Kind.WRONG_KEY: options.wrong_key,
        Kind.WRONG_NAME: options.wrong_name,
        Kind.SELF_SIGNED: options.self_signed,
    }
    return next((kind for kind, given in chosen.items() if given), Kind.SOUND)


def _stored(running: RunningStack, issued: Issued) -> str:
    leaf = x509.load_pem_x509_certificate(issued.certificate)
    end = until(leaf.not_valid_after_utc, _now())
    return f"Key Vault's {running.service.certificate_secret} is {fingerprint(leaf)} now, valid until {end}"


def _command(running: RunningStack, action: str) -> str:
    """A command for a person to copy."""
    folder = "" if running.folder == stack.FOLDER else f" --state {shlex.quote(str(running.folder))}"
    return f".venv/bin/python -m devstack certificate {action}{folder}"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _clock() -> str:
    return f"{_now():%H:%M:%S} UTC"


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)
