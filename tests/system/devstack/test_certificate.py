"""``python -m devstack certificate`` with the services of a running stack.

No gateway runs, so that only the command changes anything. Most commands run in this process, for speed.
"""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from devstack import announcement, commands
from devstack.authority import Authority
from devstack.stack import Addresses
from devstack.state import CERTIFICATE, PINS
from shared.rotation import validate
from shared.rotation.presented import names
from tests.support.devstack.control_plane import predict
from tests.support.devstack.processes import TIMEOUT_SECONDS, wait_until
from tests.support.devstack.running_services import RunningServices, error_line, run_certificate
from tests.support.devstack.stack_process import SIMULATED, StackProcess

AGREE = "Key Vault, the service and the gateways' pins agree."


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServices]:
    with StackProcess(tmp_path_factory.mktemp("certificate") / "stack", "--services-only", *SIMULATED) as running:
        yield RunningServices(running.until_serving())
        assert running.signal(signal.SIGTERM).wait_for_end() == 0


@pytest.fixture
def stack(services: RunningServices, monkeypatch: pytest.MonkeyPatch) -> RunningServices:
    """The services at rest: one valid certificate is deployed, pinned alone, and the latest in Key Vault."""
    # The command waits until gateways have refreshed their credentials.
    monkeypatch.setenv("CREDENTIALS_REFRESH_SECONDS", "1")
    issued = Authority.load(services.state).issue()
    services.deploy(issued)
    services.vault.set(CERTIFICATE, (issued.key + issued.chain).decode())
    services.vault.set(PINS, issued.certificate.decode())
    return services


def test_show_prints_the_certificates_and_whether_they_agree(stack: RunningServices) -> None:
    # A disabled version is ignored, as by the rotation. Versions are dated by whole seconds: wait for a later one.
    second = int(time.time())
    wait_until(lambda: int(time.time()) > second, "the next second")
    stack.vault.set(CERTIFICATE, stack.secret(CERTIFICATE))
    stack.vault.set(CERTIFICATE, "whatever", enabled=False)

    result = stack.run("show")

    assert (result.code, result.err) == (0, "")
    head, *rows, blank, verdict = result.out.splitlines()
    assert head.split() == ["fingerprint", "valid", "until", "for"]
    assert [row.split(stack.served[:16])[0].strip() for row in rows] == ["Key Vault, latest", "served", "pinned"]
    assert all(
        re.search(r"  20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC, \S.* left  localhost, 127\.0\.0\.1, ::1$", row)
        for row in rows
    )
    assert (blank, verdict) == ("", AGREE)


def test_watch_prints_each_change_until_it_is_interrupted(stack: RunningServices) -> None:
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
        rest, err = watching.communicate(timeout=TIMEOUT_SECONDS)

    assert (watching.returncode, rest, err) == (0, "", "")


def test_new_stores_a_certificate_in_key_vault_and_changes_nothing_else(stack: RunningServices) -> None:
    served, pinned = stack.served, stack.pinned

    result = stack.run("new", "--days", "30", "--names", "127.0.0.1", "example.org")

    assert (result.code, result.err) == (0, "")
    made = validate.parse(stack.secret(CERTIFICATE))
    assert made.fingerprint != served
    made.leaf.verify_directly_issued_by(Authority.load(stack.state).certificate)
    assert sorted(names(made.leaf)) == ["127.0.0.1", "example.org"]
    assert (stack.served, stack.pinned) == (served, pinned)
    lines = result.out.splitlines()
    assert lines[0].startswith(f"Key Vault's imagenet-certificate is {made.fingerprint[:16]} now, valid until 20")
    assert lines[0].endswith(" UTC, 30 days left.")
    assert "  2. waits until every gateway has read that (CREDENTIALS_REFRESH_SECONDS 1);" in lines
    shown = stack.run("show").out
    assert "Key Vault's latest is not served yet: the rotation pins it first." in shown
    service = stack.deployed
    secrets = [*service["key"].splitlines()[1:-1], service["primary_key"], service["secondary_key"]]
    assert not [secret for secret in secrets if secret in result.out + shown]


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        (["--wrong-key"], "the private key is not the certificate's"),
        (["--wrong-name"], "it does not cover 127.0.0.1, but elsewhere.example"),
        (["--self-signed"], "it is self-signed"),
        (["--days", "3"], r"it expires on \S+ \S+ UTC, within 7 days"),
    ],
)
def test_new_predicts_what_the_rotation_refuses(stack: RunningServices, options: list[str], refusal: str) -> None:
    result = stack.run("new", *options)

    assert re.search(f"^The rotation must refuse it: {refusal}. It leaves the service", result.out, re.MULTILINE)
    assert (result.code, result.err) == (0, "")
    assert re.search(f"^The rotation refuses Key Vault's latest: {refusal}.$", stack.run("show").out, re.MULTILINE)
    assert result.out.endswith(f": .venv/bin/python -m devstack certificate new --state {stack.up.folder}\n")


def test_expire_deploys_a_certificate_near_its_end_and_pins_it_beside_the_old_one(stack: RunningServices) -> None:
    before = stack.served

    result = stack.run("expire", "--seconds", "600")

    assert (result.code, result.err) == (0, ""), result
    assert stack.served == stack.desired != before
    assert stack.pinned == [before, stack.served]
    assert "the service presents it, 10 min left." in result.out
    assert "The rotation warns: it expires on " in stack.run("show").out
    # Gateways with these pins can score.
    credentials = grpc.ssl_channel_credentials(stack.secret(PINS).encode())
    with grpc.secure_channel(stack.addresses.fpga, credentials, [("grpc.enable_http_proxy", 0)]) as channel:
        assert predict(channel, stack.deployed["primary_key"])

    assert stack.run("expire", "--seconds", "5").code == 0

    def expired() -> str:
        shown = stack.run("show").out
        # The pins are looked at before it: a moment later they have expired, too.
        pin = re.search(r"^Pin \w{16} in 'imagenet-pins' expired on ", shown, re.MULTILINE)
        return shown if pin and "The served certificate has expired" in shown else ""

    shown = wait_until(expired, "the certificate expires")
    assert re.search(r"^served +\w{16}  \S+ \S+ UTC, expired +localhost", shown, re.MULTILINE)


def test_an_interrupted_expire_names_the_command_that_shows_what_was_done(stack: RunningServices) -> None:
    served = stack.served
    with stack.start("expire", env={**os.environ, "CREDENTIALS_REFRESH_SECONDS": "600"}) as expiring:
        assert expiring.stdout
        for _ in range(2):
            expiring.stdout.readline()
        expiring.send_signal(signal.SIGINT)
        _, err = expiring.communicate(timeout=TIMEOUT_SECONDS)

    assert (expiring.returncode, err) == (130, "Interrupted: `certificate show` shows what has been done so far.\n")
    assert stack.served == served
    assert stack.pinned == [served, stack.desired]


def test_without_a_running_stack_or_valid_settings_there_is_a_remedy(stack: RunningServices, tmp_path: Path) -> None:
    for action in ("show", "new", "expire"):
        assert error_line(run_certificate(action, "--state", str(tmp_path))) == (
            f"No stack is running in {tmp_path}: start a stack with `make run`,"
            " or name its folder with --state DIR if it has another"
        )
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("ROTATION_GRACE_SECONDS", "soon")
        line = error_line(stack.run("show"))
    assert line.startswith("The settings cannot be used: ROTATION_GRACE_SECONDS is 'soon'")
    # A killed stack leaves its addresses.
    (tmp_path / "state").symlink_to(stack.state)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        closed = probe.getsockname()[1]
    announcement.announce(tmp_path, Addresses("", f"https://127.0.0.1:{closed}", f"127.0.0.1:{closed}", "https://a"))
    line = error_line(run_certificate("show", "--state", str(tmp_path)))
    assert line.startswith(f"No stack responds any more in {tmp_path}: start")


def test_a_failed_update_leaves_the_service_as_it_was(stack: RunningServices, monkeypatch: pytest.MonkeyPatch) -> None:
    served = stack.served
    with stack.control() as plane:
        plane.set_faults({"mode": "fail", "calls": ["update"], "message": "no FPGA is free", "count": 1})
    result = stack.run("expire", "--seconds", "60")

    assert result.code == 1
    assert re.fullmatch(
        r"The service's certificate is unchanged: The operation \w+ ended as Failed: no FPGA is free\.\n", result.err
    )
    assert stack.served == served
    monkeypatch.setenv("SERVICE__IMAGENET__CONTROL_PLANE_NAME", "absent")
    assert stack.run("expire").err == ("The control plane has no service absent: restart the stack, which creates it\n")


def test_parts_fail_until_their_faults_are_ended(stack: RunningServices, capsys: pytest.CaptureFixture[str]) -> None:
    def fault(*words: str) -> tuple[int, str]:
        code = commands.main(["fault", *words, "--state", str(stack.up.folder)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    assert fault("vault", '{"mode": "error"}')[0] == 0
    assert stack.run("show").code == 1
    assert fault("vault")[0] == 0
    assert stack.run("show").code == 0
    for part, document in (("control-plane", '{"mode": "fail"}'), ("service", '{"delay_ms": 5}')):
        assert fault(part, document)[0] == 0
        assert fault(part)[0] == 0
    for part in ("vault", "service"):
        code, printed = fault(part, '{"mode": "bogus"}')
        assert code == 1
        assert "The fault is refused: " in printed
        assert "{" not in printed
