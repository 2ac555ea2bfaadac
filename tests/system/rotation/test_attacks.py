"""Rotations while somebody on the way to the service answers in its place, or stores hostile certificates."""

import base64
import datetime as dt
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from devstack.authority import Authority, Issued
from protos.serving_pb2 import PredictResponse
from protos.tensor_pb2 import DT_FLOAT, TensorProto, TensorShapeProto
from shared.errors import GatewayError, ServiceUntrusted
from shared.rotation.decide import Reason, Stop
from shared.rotation.status import describe
from tests.support.rotation import LONG, RotatedService, RotationEnvironment

SHAPE = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1), TensorShapeProto.Dim(size=1000)])
SCORES = TensorProto(dtype=DT_FLOAT, tensor_shape=SHAPE, float_val=[0.001] * 1000)


class Attacker(grpc.GenericRpcHandler):
    """A server on the way with a certificate of its own: accepts every key, scores, and records what it is sent."""

    def __init__(self, issued: Issued) -> None:
        self.keys: list[str] = []
        self._server = grpc.server(ThreadPoolExecutor(2), [self])
        credentials = grpc.ssl_server_credentials([(issued.key, issued.chain)])
        self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.start()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        self.keys += [str(value) for name, value in details.invocation_metadata or () if name == "authorization"]
        response = PredictResponse(outputs={"output_alias": SCORES}).SerializeToString()
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: response)

    def close(self) -> None:
        self._server.stop(0).wait()


@pytest.fixture
def attacker() -> Iterator[Attacker]:
    made = Attacker(Authority.create().issue())
    yield made
    made.close()


def test_a_server_on_the_way_receives_no_key_and_stops_the_rotation_of_keys(
    environment: RotationEnvironment, attacker: Attacker
) -> None:
    cats = environment.steady("attacked")
    before = environment.plane.keys({"id": cats.id})
    intercepted = RotatedService(environment, replace(cats.settings, port=attacker.port), cats.id)
    problems: list[GatewayError] = []

    ends = time.monotonic() + 30
    requested = False
    while not problems and "keys-rotated" not in intercepted.kinds and time.monotonic() < ends:
        try:
            intercepted.rotation().run(LONG, rotate_keys=not requested)
        except GatewayError as error:
            problems.append(error)
        requested = True
        time.sleep(0.2)

    assert attacker.keys == []
    assert [type(problem) for problem in problems] == [ServiceUntrusted]
    assert environment.plane.keys({"id": cats.id}) == before
    # Once nobody is in between, the rotation of the keys goes on.
    cats.until("keys-rotated")


def malformed() -> bytes:
    """A certificate whose subjectAltName is not DER, and its key: PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cats")])
    now = dt.datetime.now(dt.UTC)
    san = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x84\xff\xff\xff\xff")
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(90))
    leaf = made.add_extension(san, critical=False).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*form) + leaf


@pytest.mark.parametrize(
    ("secret", "refusal"),
    [
        (malformed().decode(), "it contains a certificate that cannot be parsed"),
        (base64.b64encode(b"\x30\x82\x04\x00" + bytes(1024)).decode(), "it is neither PEM nor PKCS#12"),
        ("-----BEGIN CERTIFICATE-----", "it contains a certificate that cannot be parsed"),
    ],
    ids=["malformed SAN", "not PKCS#12", "cut short"],
)
def test_a_hostile_certificate_in_key_vault_is_a_stop_with_its_cause(
    environment: RotationEnvironment, secret: str, refusal: str
) -> None:
    cats = environment.steady(f"hostile-{len(secret)}")
    environment.vault.set(cats.settings.certificate_secret, secret)
    environment.vault.set(cats.settings.pins_secret, cats.vault.read(cats.settings.pins_secret).value + secret)

    observed = cats.rotation().observe()

    assert isinstance(observed.step, Stop)
    assert observed.step.reason is Reason.CERTIFICATE_REFUSED
    assert refusal in describe(observed)["desired"]["refusal"]
    assert len(describe(observed)["pinned"]) == 1


def test_a_server_that_presents_a_malformed_certificate_spoils_no_status(environment: RotationEnvironment) -> None:
    cats = environment.steady("malformed")
    key, _, leaf = malformed().partition(b"-----BEGIN CERTIFICATE")
    attacker = Attacker(Issued(b"", key, b"-----BEGIN CERTIFICATE" + leaf))
    intercepted = RotatedService(environment, replace(cats.settings, port=attacker.port), cats.id)

    described = describe(intercepted.rotation().observe())

    served = described["served"]
    assert served is None or (served["names"] == [] and served["fingerprint"] != described["desired"]["fingerprint"])
    attacker.close()
