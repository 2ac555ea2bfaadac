"""Certificates as input: PKCS#12 in a process of its own, bounded in size and in time."""

import base64
import datetime as dt
import threading
import time
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from shared.rotation import stored
from shared.rotation.stored import read_certificate
from shared.rotation.validate import UnreadableCertificate

NOW = dt.datetime.now(dt.UTC)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cats.example.com")])
KEY = rsa.generate_private_key(65537, 3072)
LEAF = x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 1, NOW, NOW + dt.timedelta(9)).sign(KEY, hashes.SHA256())
FILE = pkcs12.serialize_key_and_certificates(None, KEY, LEAF, None, serialization.NoEncryption())

# By openssl pkcs12 -export -passout pass: -iter 8388607; the number is in it three times.
ITERATED = base64.b64decode(
    "MIIEHwIBAzCCA9QGCSqGSIb3DQEHAaCCA8UEggPBMIIDvTCCAnMGCSqGSIb3DQEHBqCCAmQwggJgAgEAMIICWQYJKoZIhvcNAQcBMFgGCSqGSI"
    "b3DQEFDTBLMCoGCSqGSIb3DQEFDDAdBAgrxtQ+rmTViAIDf///MAwGCCqGSIb3DQIJBQAwHQYJYIZIAWUDBAEqBBCsXPdoU0GbLcFVNfNikT4+"
    "gIIB8AcRp8AlKajVh2kCrjqkQPKhnYnEDC1lglw3YCTFnG2HBN/yI+lfBA7L9b5DMfj+myfJZzv3TRhdfm0y44sphQb5+3UWYmxsEAjDjmwzJm"
    "cj9/a2CNaI6v1Unu0BJV9bez7Nr8E1KlyvK7hAE4BWTVbNfLWju3oW/MlQQkgWA6eAOf/AlD8aGOH5/kT/RnJUV7uvQHJHtg2toCpCVzclrY4w"
    "79U31kYNXqhanTwrc+gdpvY4fFSDrE0mfo/hP0PxVYfS406Qf05WEu0EgNfrF0xNydOPF39hmInjmP3qLdjSOlfAzBB9JcIXVddL0d+tU59JSO"
    "LSGQjQ5jm83FVFSYQH8lm1Y/zybApulMhOW9ggx+Po78NqAa5WNkP9A0JkJbNwbx7IEKQgDVMK5KRrmdRmIKYC1TrHhS6zI/kgTuMMnJz+rHwa"
    "4ZD2S+DZLpr4kMjVYmmQLiUPp0J/qkTbCGfFrvameGkDUwLjtHCRapstEAnKILfNw/bwzsW/HjNFdKYWX2caXBiu1E2I2AQ6UAtiRPqEpzvHBy"
    "MmHhkNcSbTWl5h+hGg8hKV4BGvu5ev3/FkZ8kA9EmJSxCRFO6IikQN/wn2/BJm3nsH8vVOFfQmzfMls557hNxs31D6KhgAhfm0eYcXvFCwRzDJ"
    "ymw1IWUwggFCBgkqhkiG9w0BBwGgggEzBIIBLzCCASswggEnBgsqhkiG9w0BDAoBAqCB8DCB7TBYBgkqhkiG9w0BBQ0wSzAqBgkqhkiG9w0BBQ"
    "wwHQQInYu4zhsekroCA3///zAMBggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQBph1xFABhUyyrmX5Lv/KdQSBkMmTdq3xoh3d7NII1EcOEsI3"
    "rZHSSaxqxzJQogdgNvw5UEmCVCxWnuwtl+LpB3ggQjFa7GeMQQVSGMpmcW/z50S08F4M3rKdkJZDcGCwStL4xQPIOfB+l987ZQM9Q1y3UeNM9+"
    "aQQl9OyTUNs0rEdtoSDtmt/k8wNPH24J3fPt6A167L2W3SqU/BvL0n+/9jgjElMCMGCSqGSIb3DQEJFTEWBBQRRSxzfalf7AsPL5XvxWFl6hsV"
    "4DBCMDEwDQYJYIZIAWUDBAIBBQAEIE32KHyJ+bO/Cmm8exKlhZ2RfYMPEMXHpjTnd/ApKT6FBAg8ilIAWoV9yQIDf///"
)
ITERATIONS = 8_388_607


def tlvs(der: bytes) -> Iterator[tuple[int, bytes]]:
    """The tags and contents in a DER text; ValueError where it is none."""
    while der:
        if len(der) < 2:
            raise ValueError
        octets = der[1] & 0x7F if der[1] & 0x80 else 0
        length = int.from_bytes(der[2 : 2 + octets]) if octets else der[1]
        if len(der) < 2 + octets + length or octets > 3:
            raise ValueError
        yield der[0], der[2 + octets : 2 + octets + length]
        der = der[2 + octets + length :]


def with_iterations(der: bytes, number: int) -> bytes:
    """The file, stating another number of iterations wherever it states one."""
    made = b""
    for tag, found in tlvs(der):
        content = found
        if tag == 0x02 and int.from_bytes(found) == ITERATIONS:
            content = number.to_bytes(4)
        elif tag & 0x20 or tag == 0x04:  # constructed, or an octet string that may hold DER
            try:
                content = with_iterations(found, number)
            except ValueError:
                assert tag == 0x04
        length = len(content)
        octets = (length.bit_length() + 7) // 8
        made += bytes([tag]) + (bytes([length]) if length < 0x80 else bytes([0x80 | octets]) + length.to_bytes(octets))
        made += content
    return made


def longest_stall(work: threading.Thread) -> float:
    """The longest time, in seconds, for which this thread did not run during the work of another."""
    longest, before = 0.0, time.perf_counter()
    work.start()
    while work.is_alive():
        time.sleep(0.001)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    return longest


@pytest.mark.parametrize(
    "secret",
    [
        base64.b64encode(FILE).decode(),
        base64.encodebytes(FILE).decode(),
        "\r\n\t " + base64.encodebytes(FILE).decode().replace("\n", " \r\n") + "\n\n",
        stored.to_pem(FILE),
    ],
    ids=["PKCS#12 in base64", "in lines", "in lines of Windows, with white space around", "PEM"],
)
def test_a_certificate_is_read_from_each_form(secret: str) -> None:
    certificate = read_certificate(secret)

    assert certificate.leaf == LEAF
    assert certificate.roots.bundle == LEAF.public_bytes(serialization.Encoding.PEM)


def test_two_billion_iterations_are_refused_with_their_cause_and_lock_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "SECONDS", 1.0)
    secret = base64.b64encode(with_iterations(ITERATED, 2**31 - 1)).decode()
    assert secret != base64.b64encode(ITERATED).decode()
    refusals: list[str] = []

    def read() -> None:
        try:
            read_certificate(secret)
        except UnreadableCertificate as error:
            refusals.append(str(error))

    # In this process, reading it would lock the interpreter until its end.
    assert longest_stall(threading.Thread(target=read)) < stored.SECONDS / 2
    assert refusals == ["its PKCS#12 takes over 1 seconds to read: too many iterations, or too large a key"]


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("hello", "neither PEM nor PKCS#12"),
        ("", "neither PEM nor PKCS#12"),
        ("\ud800", "neither PEM nor PKCS#12"),
        ("M" * 200_000, "longer than 100000 characters"),
    ],
)
def test_what_is_no_certificate_is_refused_with_its_cause(secret: str, message: str) -> None:
    with pytest.raises(UnreadableCertificate, match=message):
        read_certificate(secret)


def test_a_process_that_cannot_start_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")

    with pytest.raises(UnreadableCertificate, match="store it as PEM"):
        read_certificate("hello")
