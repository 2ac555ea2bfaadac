"""The command ``certificate``, and the running services that it works with, read by other means than its own."""

import contextlib
import io
import json
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from devstack import announcement, commands
from devstack.authority import Authority, Issued, fingerprint
from devstack.stack import Addresses
from devstack.state import CERTIFICATE, PINS, SERVICE
from shared.rotation import validate
from tests.support.devstack.control_plane import ControlPlaneClient, ControlPlaneFiles
from tests.support.devstack.fpga import handshake
from tests.support.devstack.processes import ROOT
from tests.support.devstack.stack_process import StackProcess
from tests.support.key_vault import LocalVault


@dataclass(frozen=True)
class Result:
    """The exit code and output of a command."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class RunningServices:
    """The services of a running stack."""

    up: StackProcess

    @property
    def state(self) -> Path:
        return self.up.folder / "state"

    @property
    def files(self) -> ControlPlaneFiles:
        return ControlPlaneFiles(self.state, Authority.load(self.state))

    @property
    def addresses(self) -> Addresses:
        return announcement.find(self.up.folder)

    @property
    def vault(self) -> LocalVault:
        return LocalVault(self.addresses.vault, self.addresses.identity, self.files)

    @property
    def deployed(self) -> dict[str, Any]:
        """The service's record in the control plane's file."""
        document = json.loads((self.state / "control" / "services" / "control.json").read_text())
        (service,) = (each for each in document["services"] if each["name"] == SERVICE)
        found: dict[str, Any] = service
        return found

    @property
    def served(self) -> str:
        """The fingerprint of the certificate that the service presents, valid or not."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        leaf, _, _ = handshake(int(self.addresses.fpga.rpartition(":")[2]), context)
        return fingerprint(x509.load_der_x509_certificate(leaf).public_bytes(Encoding.PEM))

    def secret(self, name: str) -> str:
        """The latest version of a secret in the vault's files."""
        document = json.loads((self.state / "vault" / "secrets" / f"{name}.json").read_text())
        value: str = document["versions"][-1]["value"]
        return value

    @property
    def pinned(self) -> list[str]:
        pins = x509.load_pem_x509_certificates(self.secret(PINS).encode())
        return [fingerprint(pin.public_bytes(Encoding.PEM)) for pin in pins]

    @property
    def desired(self) -> str:
        return validate.parse(self.secret(CERTIFICATE)).fingerprint

    def run(self, *arguments: str) -> Result:
        return run_certificate(*arguments, "--state", str(self.up.folder))

    def start(self, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
        """A command in a process of its own."""
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-m", "devstack", "certificate", *arguments, "--state", str(self.up.folder)]
        return subprocess.Popen(command, cwd=ROOT, **{**given, **options})

    def control(self) -> ControlPlaneClient:
        """A client of the control plane."""
        return self.files.connect(self.addresses.control)

    def deploy(self, issued: Issued) -> None:
        """Update the service to a certificate."""
        with self.control() as plane:
            plane.wait_for_end(plane.update(self.deployed, issued))


def run_certificate(*arguments: str) -> Result:
    """A command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = commands.main(["certificate", *arguments])
    return Result(code, out.getvalue(), err.getvalue())


def error_line(result: Result) -> str:
    """The one line of a command that failed before it did anything."""
    assert (result.code, result.out) == (1, ""), result
    assert result.err.count("\n") == 1, result.err
    return result.err.rstrip("\n")
