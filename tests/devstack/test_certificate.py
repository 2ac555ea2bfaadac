"""``python -m devstack certificate`` against the services of a stack that runs.

No gateway runs, so that nothing but the command changes anything: what a rotation makes of it is a matter of its own.
Most commands run in this process, for speed; those that are watched, or interrupted, in their own.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from devstack import announcement, commands
from devstack.authority import Authority
from devstack.stack import Addresses, settings
from devstack.state import CERTIFICATE, PINS
from shared.trust import judge
from tests.devstack.alive import PATIENCE, eventually
from tests.devstack.certifying import Stack, refused, run
from tests.devstack.control.plane import predict
from tests.devstack.stacks import ROOT, Up

AGREE = "Key Vault, the service and the gateways' pins agree."


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = ("--services-only", "--engine", "simulated", "--latency-ms", "0")
    with Up(tmp_path_factory.mktemp("certificate") / "stack", *options) as running:
        yield Stack(running.until_serving())
        assert running.signal(signal.SIGTERM).ended() == 0


@pytest.fixture
def stack(services: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The services at rest: one sound certificate is deployed, alone pinned, and what Key Vault asks for."""
    # Gateways are waited for, so let them be quick.
    monkeypatch.setenv("CREDENTIALS_REFRESH_SECONDS", "1")
    issued = Authority.load(services.state).issue()
    services.deploy(issued)
    services.vault.set(CERTIFICATE, (issued.key + issued.chain).decode())
    services.vault.set(PINS, issued.certificate.decode())
    return services


# Showing.


def test_what_agrees_is_shown_with_its_end_and_its_names(stack: Stack) -> None:
    ended = stack.run("show")

    assert (ended.code, ended.err) == (0, "")
    head, *rows, blank, said = ended.out.splitlines()
    assert head.split() == ["fingerprint", "valid", "until", "for"]
    assert [row.split(stack.served[:16])[0].strip() for row in rows] == ["Key Vault, latest", "served", "pinned"]
    assert all(
        re.search(r"  20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC, \S.* left  localhost, 127\.0\.0\.1, ::1$", row)
        for row in rows
    )
    assert (blank, said) == ("", AGREE)


def test_nothing_secret_is_shown(stack: Stack) -> None:
    printed = [stack.run("show"), stack.run("new")]

    service = stack.deployed
    secrets = [*service["key"].splitlines()[1:-1], service["primary_key"], service["secondary_key"]]
    for ended in printed:
        assert not [secret for secret in secrets if secret in ended.out + ended.err]


def test_a_disabled_version_is_passed_over_as_the_rotation_does(stack: Stack) -> None:
    # Key Vault dates versions by whole seconds: this one is to be younger than all others.
    second = int(time.time())
    eventually(lambda: int(time.time()) > second, "the next second")
    stack.vault.set(CERTIFICATE, stack.secret(CERTIFICATE))
    stack.vault.set(CERTIFICATE, "whatever", enabled=False)

    assert AGREE in stack.run("show").out


def test_an_unreadable_secret_is_told(stack: Stack) -> None:
    stack.vault.set(CERTIFICATE, "no certificate")
    stack.vault.set(PINS, "no pin")

    said = stack.run("show").out

    assert "The secret 'imagenet-certificate' cannot be used: it is neither PEM nor PKCS#12 without a password." in said
    assert "Secret 'imagenet-pins' holds no PEM certificate." in said


def test_a_watch_tells_each_change_until_it_is_interrupted(stack: Stack) -> None:
    old = stack.served[:8]
    with stack.start("show", "--watch") as watching:
        assert watching.stdout
        first = watching.stdout.readline()
        assert re.fullmatch(rf"\d\d:\d\d:\d\d UTC  Key Vault {old}  served {old}  pinned {old}\n", first)

        stack.run("new")
        second = watching.stdout.readline()
        new = stack.desired[:8]
        assert second.endswith(f"  Key Vault {new}  served {old}  pinned {old}  (Key Vault has another version)\n")

        stack.vault.set(
            PINS, stack.secret(PINS) + stack.secret(CERTIFICATE).partition("-----END PRIVATE KEY-----\n")[2]
        )
        assert f"{new} is pinned" in watching.stdout.readline()

        watching.send_signal(signal.SIGINT)
        rest, err = watching.communicate(timeout=PATIENCE)

    assert (watching.returncode, rest, err) == (0, "", "")


def test_a_watch_that_nobody_reads_ends(stack: Stack) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with stack.start("show", "--watch", stdout=writer) as watching:
        os.close(writer)
        _, err = watching.communicate(timeout=PATIENCE)

    assert (watching.returncode, err) == (1, "")


# A new certificate.


def test_a_new_certificate_is_in_key_vault_and_all_else_is_left_to_the_rotation(stack: Stack) -> None:
    served, pinned = stack.served, stack.pinned

    ended = stack.run("new", "--days", "30", "--names", "127.0.0.1", "example.org")

    assert (ended.code, ended.err) == (0, "")
    made = judge.read(stack.secret(CERTIFICATE).encode())
    assert made.fingerprint != served
    made.leaf.verify_directly_issued_by(Authority.load(stack.state).certificate)
    assert sorted(judge.names(made.leaf)) == ["127.0.0.1", "example.org"]
    assert (stack.served, stack.pinned) == (served, pinned)
    lines = ended.out.splitlines()
    assert lines[0].startswith(f"Key Vault's imagenet-certificate is {made.fingerprint[:16]} now, valid until 20")
    assert lines[0].endswith(" UTC, 30 days left.")
    assert "  2. waits until every gateway has read that (CREDENTIALS_REFRESH_SECONDS 1);" in lines
    assert "Key Vault's latest is not served yet: the rotation pins it first." in stack.run("show").out


def test_the_command_that_is_recommended_works_as_a_process(stack: Stack) -> None:
    recommended = stack.run("new", "--days", "1").out.rstrip().rpartition(": ")[2]
    command = recommended.replace(".venv/bin/python", sys.executable)

    ended = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S602 - as a person would

    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"Watch it: .venv/bin/python -m devstack certificate show --watch --state {stack.up.folder}" in ended.stdout


@pytest.mark.parametrize(
    ("option", "refusal"),
    [
        (["--wrong-key"], "the private key is not the certificate's"),
        (["--wrong-name"], "it is not for 127.0.0.1, but for elsewhere.example"),
        (["--self-signed"], "it is self-signed"),
        (["--days", "3"], r"it expires on \S+ \S+ UTC, within 7 days"),
        (["--names", "example.org"], "it is not for 127.0.0.1, but for example.org"),
    ],
)
def test_what_the_rotation_must_refuse_is_said_at_once(stack: Stack, option: list[str], refusal: str) -> None:
    served = stack.served

    ended = stack.run("new", *option)

    assert re.search(f"^The rotation must refuse it: {refusal}. It leaves the service", ended.out, re.MULTILINE)
    assert (ended.code, ended.err) == (0, "")
    assert stack.desired != served
    assert re.search(f"^The rotation refuses Key Vault's latest: {refusal}.$", stack.run("show").out, re.MULTILINE)


# A certificate near its end.


def test_the_service_presents_a_certificate_near_its_end_which_is_pinned_beside_the_old_one(stack: Stack) -> None:
    before = stack.served

    ended = stack.run("expire", "--seconds", "600")

    assert (ended.code, ended.err) == (0, ""), ended
    assert stack.served == stack.desired != before
    assert stack.pinned == [before, stack.served]
    assert "the service presents it, 10 min left." in ended.out
    assert "The rotation warns: it expires on " in stack.run("show").out
    # The pins that gateways have read let them score.
    credentials = grpc.ssl_channel_credentials(stack.secret(PINS).encode())
    with grpc.secure_channel(stack.addresses.fpga, credentials, [("grpc.enable_http_proxy", 0)]) as channel:
        assert predict(channel, stack.deployed["primary_key"])


def test_the_end_comes(stack: Stack) -> None:
    assert stack.run("expire", "--seconds", "5").code == 0

    shown = ""

    def has_expired() -> bool:
        nonlocal shown
        shown = stack.run("show").out
        return "What is served has expired" in shown

    eventually(has_expired, "the certificate's end")
    assert re.search(r"^Pin \w{16} in 'imagenet-pins' expired on ", shown, re.MULTILINE)
    assert re.search(r"^served +\w{16}  \S+ \S+ UTC, expired +localhost", shown, re.MULTILINE)


def test_an_interrupted_command_says_where_to_look(stack: Stack) -> None:
    served = stack.served
    with stack.start("expire", env={**os.environ, "CREDENTIALS_REFRESH_SECONDS": "600"}) as expiring:
        assert expiring.stdout
        for _ in range(2):
            expiring.stdout.readline()
        expiring.send_signal(signal.SIGINT)
        _, err = expiring.communicate(timeout=PATIENCE)

    assert (expiring.returncode, err) == (130, "Interrupted: `certificate show` tells what has been done so far.\n")
    assert stack.served == served
    assert stack.pinned == [served, stack.desired]


# What cannot be done.


def test_without_a_stack_there_is_a_remedy(tmp_path: Path) -> None:
    for action in ("show", "new", "expire"):
        assert refused(run(action, "--state", str(tmp_path))) == (
            f"No stack is running in {tmp_path}: start a stack with `make run`,"
            " or name its folder with --state DIR if it has another"
        )


def test_a_stack_that_was_killed_is_no_stack(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "state").symlink_to(stack.state)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        closed = probe.getsockname()[1]
    announcement.announce(tmp_path, Addresses("", f"https://127.0.0.1:{closed}", f"127.0.0.1:{closed}", "https://a"))

    assert refused(run("show", "--state", str(tmp_path))).startswith(f"No stack answers any more in {tmp_path}: start")


def test_a_key_vault_that_refuses_is_one_line(stack: Stack) -> None:
    stack.vault.fault(mode="forbid")
    try:
        line = refused(stack.run("new"))
    finally:
        stack.vault.fault()

    assert line.startswith("Key Vault does not let the gateway ")
    assert "imagenet-certificate" in line


def test_a_control_plane_that_refuses_is_one_line_and_the_service_is_as_it_was(stack: Stack) -> None:
    served = stack.served
    stack.control("PUT", "/_devstack/faults", {"mode": "fail", "calls": ["update"], "message": "no FPGA is free"})
    try:
        ended = stack.run("expire", "--seconds", "60")
    finally:
        stack.control("DELETE", "/_devstack/faults")

    assert ended.code == 1
    assert re.fullmatch(
        r"The service's certificate is as it was: the operation \w+ ended as Failed: no FPGA is free\n", ended.err
    )
    assert stack.served == served


def test_a_service_that_is_not_there_is_told_with_the_remedy(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE__IMAGENET__CONTROL_PLANE_NAME", "gone")

    assert stack.run("expire").err == (
        "The control plane has no service gone: start the stack again, which makes it anew\n"
    )


def test_settings_that_no_gateway_could_use_are_named(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTATION_GRACE_SECONDS", "soon")

    assert refused(stack.run("show")).startswith("The settings cannot be used: ROTATION_GRACE_SECONDS is 'soon'")


def test_settings_without_the_service_are_told(stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept = {name: value for name, value in settings().items() if not name.startswith("SERVICE")}
    mine = {"SERVICES": "mine", "SERVICE__MINE__ADDRESS": "localhost", "SERVICE__MINE__PORT": "7074"}
    file = tmp_path / "local.settings.json"
    file.write_text(json.dumps({"Values": kept | mine}))
    monkeypatch.setattr("devstack.stack.SETTINGS_FILE", file)

    line = refused(stack.run("show"))

    assert line == "The settings describe no service imagenet: name it in SERVICES again"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["new", "--days", "0"], "argument --days: must be a whole number from 1 to 3650, not '0'"),
        (["new", "--names", "two words"], "argument --names: must be a host name or an IP address, not 'two words'"),
        (["new", "--wrong-key", "--self-signed"], "argument --self-signed: not allowed with argument --wrong-key"),
        (["new", "--names", "a", "--wrong-name"], "argument --wrong-name: not allowed with argument --names"),
        (["expire", "--seconds", "4"], "argument --seconds: must be a whole number from 5 to 604800, not '4'"),
        (["show", "--surprise"], "unrecognized arguments: --surprise"),
    ],
)
def test_options_that_cannot_be_are_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        commands.parse(["certificate", *arguments])

    assert end.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith(f"error: {message}")


def test_without_an_action_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["certificate"]) == 0

    assert capsys.readouterr().out.startswith("usage: python -m devstack certificate [-h] ACTION ...")


@pytest.mark.parametrize("action", ["show", "new", "expire"])
def test_each_action_says_what_it_does(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        commands.parse(["certificate", action, "--help"])

    assert end.value.code == 0
    assert len(capsys.readouterr().out.split("options:")[0].splitlines()) > 3
