"""The command ``certificate``, and the running services that it works with, seen by other eyes than its own."""

import contextlib
import io
import json
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from devstack import announcement, commands, tokens
from devstack.authority import Issued, fingerprint
from devstack.stack import Addresses, account, settings
from devstack.state import CERTIFICATE, PINS, SERVICE
from shared.fpga.deployment_types import API_VERSION
from shared.trust import judge
from tests.devstack.alive import PATIENCE, eventually
from tests.devstack.stacks import ROOT, Up
from tests.vaults import Vault


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Stack:
    """Running services, and what there is in them by other eyes than the command's."""

    up: Up

    @property
    def state(self) -> Path:
        return self.up.folder / "state"

    @property
    def addresses(self) -> Addresses:
        return announcement.find(self.up.folder)

    @property
    def vault(self) -> Vault:
        key = (self.state / "signing.key").read_bytes()
        return Vault(self.addresses.vault, self.addresses.identity, self.state / "ca.pem", key)

    @property
    def deployed(self) -> dict[str, Any]:
        """The service as the control plane keeps it."""
        document = json.loads((self.state / "control" / "services" / "control.json").read_text())
        (service,) = (each for each in document["services"] if each["name"] == SERVICE)
        found: dict[str, Any] = service
        return found

    @property
    def served(self) -> str:
        """The fingerprint of what the service presents, sound or not."""
        host, _, port = self.addresses.fpga.rpartition(":")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain) as secure:
            leaf = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
        return fingerprint(leaf.public_bytes(Encoding.PEM))

    def secret(self, name: str) -> str:
        """The latest version of a secret, as it lies on disk."""
        document = json.loads((self.state / "vault" / "secrets" / f"{name}.json").read_text())
        value: str = document["versions"][-1]["value"]
        return value

    @property
    def pinned(self) -> list[str]:
        pins = x509.load_pem_x509_certificates(self.secret(PINS).encode())
        return [fingerprint(pin.public_bytes(Encoding.PEM)) for pin in pins]

    @property
    def desired(self) -> str:
        return judge.read(self.secret(CERTIFICATE).encode()).fingerprint

    def run(self, *arguments: str) -> Ended:
        return run(*arguments, "--state", str(self.up.folder))

    def start(self, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
        """A command in a process of its own."""
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-m", "devstack", "certificate", *arguments, "--state", str(self.up.folder)]
        return subprocess.Popen(command, cwd=ROOT, **{**given, **options})

    def control(self, method: str, path: str, document: object = None) -> Any:
        """Call the control plane."""
        token = tokens.issue(self.vault.signing_key, resource="https://management.azure.com/", now=time.time()).value
        answer = httpx.request(
            method,
            self.addresses.control + path,
            json=document,
            headers={"Authorization": f"Bearer {token}"},
            verify=ssl.create_default_context(cafile=str(self.state / "ca.pem")),
            trust_env=False,
            timeout=PATIENCE,
        )
        assert answer.is_success, answer.text
        return answer.json()

    def deploy(self, issued: Issued) -> None:
        """Give the service a certificate."""
        path = account(settings()).path("services", self.deployed["id"])
        document = {"computeType": "FPGA", "modelId": "imagenet", "numReplicas": 1, "sslEnabled": True}
        document |= {"sslCertificate": issued.chain.decode(), "sslKey": issued.key.decode()}
        self.control("PUT", f"{path}?api-version={API_VERSION}", document)
        eventually(lambda: self.deployed["chain"] == issued.chain.decode(), "the update's end")


def run(*arguments: str) -> Ended:
    """A command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = commands.main(["certificate", *arguments])
    return Ended(code, out.getvalue(), err.getvalue())


def refused(ended: Ended) -> str:
    """The one line of a command that could do nothing."""
    assert (ended.code, ended.out) == (1, ""), ended
    assert ended.err.count("\n") == 1, ended.err
    return ended.err.rstrip("\n")
