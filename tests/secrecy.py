"""What the tests print and log is kept, and searched for the secrets that they made (``tests/test_secrets.py``).

As a plugin it writes what pytest captured of each test, and the failures that pytest shows, to a file in the session's
base temp folder, and puts the search behind all other tests. What the servers of the tests print lies in that folder
already, in files of their own; and so do the secrets, in the state of those servers.
"""

import base64
import contextlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from devstack.vault.records import Secret
from shared.telemetry import log

# A secret is searched for by pieces, so that a part of it is found too: every run of twice this length holds a piece.
# Shorter ones occur by chance; of hexadecimal digits, which identifiers are full of, so do ones of eight.
PIECE, HEX_PIECE = 8, 16

# Shorter values are no secrets, but a test's literals.
SHORTEST = 16

CAPTURED = "captured-of-tests.log"
SEARCH = "test_secrets.py"

# What holds the outputs of programs, and what these write for others to read.
_OUTPUT_SUFFIXES = {".log", ".out", ".err", ".jsonl"}
_OUTPUT_NAMES = {"log", "addresses.json"}

# `up --enable-auth` prints the default function key on purpose: it is what its user must send. Nothing else may.
_TOLD_ON_PURPOSE = re.compile(rb"^  x-functions-key +\S+$", re.MULTILINE)

# No state tells of these, and none may be in any output: a signed token, and the begin of a private key.
_SHAPES = {
    "a token": re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}"),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:\\+[nr]|\s)*[A-Za-z0-9+/]{40}"),
}

_LARGEST_STATE = 4_000_000
_CHUNK = 4_000_000
# More than the longest of the shapes above, so that none is cut by a chunk's end.
_OVERLAP = 10_000
_TEST = b"\n==== "


@dataclass(frozen=True)
class Leak:
    """A secret that was found in an output, both by their origins: never by the value."""

    secret: str
    place: str

    def __str__(self) -> str:
        return f"{self.secret} is in {self.place}"


@dataclass
class Secrets:
    """Secrets to search for: where each piece of them comes from (the first place, where it is in several)."""

    # Not shown: pytest shows what a failed assertion is about.
    pieces: dict[bytes, str] = field(default_factory=dict, repr=False)
    origins: set[str] = field(default_factory=set)

    def add(self, value: str, origin: str) -> None:
        """A value, unless anybody could have written it by hand."""
        if looks_random(value):
            self._add_pieces(value, origin)

    def add_bytes(self, value: bytes, origin: str) -> None:
        """A key of raw bytes, in the forms in which text may hold it."""
        for text in (value.hex(), base64.b64encode(value).decode(), base64.urlsafe_b64encode(value).decode()):
            self.add(text.rstrip("="), origin)

    def add_private_key(self, pem: bytes, origin: str) -> None:
        """The lines of a PEM block, as far as they hold what is private: the rest is the same in other keys."""
        for line in private_lines(pem):
            self._add_pieces(line, origin)

    def find(self, content: bytes) -> Iterator[tuple[int, str]]:
        """Where in a content there is a piece, and of what."""
        for name, shape in _SHAPES.items():
            yield from ((match.start(), name) for match in shape.finditer(content))
        for start in _candidates(content, self.pieces):
            for size in (PIECE, HEX_PIECE):
                origin = self.pieces.get(content[start : start + size])
                if origin:
                    yield start, origin

    def _add_pieces(self, text: str, origin: str) -> None:
        size = HEX_PIECE if re.fullmatch("[0-9a-fA-F]+", text) else PIECE
        for start in range(0, len(text) - size + 1, size):
            self.origins.add(origin)
            self.pieces.setdefault(text[start : start + size].encode(), origin)


def looks_random(value: str) -> bool:
    """Whether a generator of random text made this, and not a person."""
    if len(value) < SHORTEST or not re.fullmatch(r"[A-Za-z0-9+/_=~.-]+", value):
        return False
    kinds = sum(bool(re.search(kind, value)) for kind in ("[0-9]", "[a-z]", "[A-Z]"))
    # "0123456789abcdef" has sixteen different characters, but hardly any steps between them.
    steps = {ord(after) - ord(before) for before, after in pairwise(value)}
    return kinds >= 2 and len(set(value)) >= 8 and len(steps) >= 8


def private_lines(pem: bytes) -> Iterator[str]:
    """The parts of a PEM private key's lines that hold its private numbers; none if nobody can read the key."""
    try:
        key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError):
        return
    lines = [line for line in pem.decode().split() if re.fullmatch("[A-Za-z0-9+/=]+", line) and len(line) > PIECE]
    encoded = base64.b64decode("".join(lines))
    for number in _private_numbers(key):
        at = encoded.find(number)
        # Characters that hold bits of this number alone; each holds six.
        first, last = -(-at * 8 // 6), (at + len(number)) * 8 // 6
        for line in lines:
            if at >= 0 and last > 0:
                yield line[max(first, 0) : last]
            first, last = first - len(line), last - len(line)


def _private_numbers(key: object) -> list[bytes]:
    match key:
        case ec.EllipticCurvePrivateKey():
            return [key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8)]
        case rsa.RSAPrivateKey():
            numbers = key.private_numbers()
            return [each.to_bytes((each.bit_length() + 7) // 8) for each in (numbers.d, numbers.p, numbers.q)]
        case ed25519.Ed25519PrivateKey():
            return [key.private_bytes_raw()]
    return []


def _candidates(content: bytes, pieces: Iterable[bytes]) -> list[int]:
    """Where a piece may begin: all places where one does, and a few more."""
    if len(content) < PIECE:
        return []
    starts = np.frombuffer(b"".join(piece[:PIECE] for piece in pieces), "<u8")
    # Every eight bytes in a row, as one number each.
    windows = np.ndarray((len(content) - PIECE + 1,), "<u8", content, strides=(1,))
    marked = np.zeros(1 << 20, bool)
    marked[_hash(starts)] = True
    return [int(at) for at in np.flatnonzero(marked[_hash(windows)])]


def _hash(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Twenty bits of each: the upper ones of its product with an odd number, which depend on all of its bits."""
    return cast("np.ndarray[Any, Any]", (numbers * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(44))


# Where secrets lie.

_DAMAGES = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


def collect(folder: Path) -> Secrets:
    """All secrets in a folder and those below it, whatever programs keep there."""
    found = Secrets()
    for path in sorted(folder.rglob("*")):
        read = _reader(path)
        # Tests also damage state, forbid reading it and remove it: such a file tells nothing.
        with contextlib.suppress(*_DAMAGES):
            if read and path.is_file() and path.stat().st_size < _LARGEST_STATE:
                read(found, path.read_bytes(), str(path.relative_to(folder)))
    return found


def _reader(path: Path) -> Callable[[Secrets, bytes, str], None] | None:
    named = {"signing.key": _read_signing_key, "control.json": _read_services}
    named |= dict.fromkeys(("keys.json", "host-keys.json"), _read_keys)
    by_suffix = {".json": _read_vault, ".key": _read_pem, ".pem": _read_pem}
    return named.get(path.name) or by_suffix.get(path.suffix)


def _read_signing_key(found: Secrets, content: bytes, place: str) -> None:
    found.add_bytes(content, f"the signing key {place}")


def _read_services(found: Secrets, content: bytes, place: str) -> None:
    """The services of a control plane."""
    for service in json.loads(content)["services"]:
        for name in ("primary_key", "secondary_key"):
            found.add(service[name], f"the {name} of a service in {place}")
        found.add_private_key(service["key"].encode(), f"the private key of a service in {place}")


def _read_keys(found: Secrets, content: bytes, place: str) -> None:
    """The keys of functions, or of an FPGA service."""
    for name, value in _texts(json.loads(content)):
        found.add(value, f"the key {name} in {place}")


def _texts(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _texts(value)
        else:
            yield name, value


def _read_vault(found: Secrets, content: bytes, place: str) -> None:
    """All versions of one secret of a Key Vault; any other JSON raises."""
    secret = Secret.from_json(content)
    for version in secret.versions:
        origin = f"the secret {secret.name} in {place}"
        found.add(version.value, origin)
        _read_pem(found, version.value.encode(), origin)


def _read_pem(found: Secrets, content: bytes, place: str) -> None:
    for block in re.findall(
        rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", content, re.DOTALL
    ):
        found.add_private_key(block, f"the private key in {place}")


# What was said.


def outputs(folder: Path) -> list[Path]:
    """The files below a folder that hold what programs and tests printed and logged."""
    files = (path for path in folder.rglob("*") if path.suffix in _OUTPUT_SUFFIXES or path.name in _OUTPUT_NAMES)
    return sorted(path for path in files if path.is_file())


def search(folder: Path, secrets: Secrets) -> list[Leak]:
    """Every secret that the outputs below a folder hold, once for each place."""
    leaks = {Leak(secret, place): None for path in outputs(folder) for secret, place in _search(path, secrets, folder)}
    return list(leaks)


def _search(path: Path, secrets: Secrets, folder: Path) -> Iterator[tuple[str, str]]:
    name, test = path.relative_to(folder), ""
    with path.open("rb") as file:
        rest = b""
        while chunk := file.read(_CHUNK):
            content = _without_what_is_told_on_purpose(path, rest + chunk)
            for start, secret in secrets.find(content):
                yield secret, f"{name}{_test(content[:start]) or test}"
            test = _test(content[:-_OVERLAP]) or test
            rest = content[-_OVERLAP:]


def _without_what_is_told_on_purpose(path: Path, content: bytes) -> bytes:
    return _TOLD_ON_PURPOSE.sub(b"", content) if path.suffix == ".out" else content


def _test(before: bytes) -> str:
    """The test whose part a place is in, where the file has such parts."""
    _, heading, after = before.rpartition(_TEST)
    return f", {after.partition(b'\n')[0].decode(errors='replace')}" if heading else ""


# The plugin.


@pytest.fixture(scope="session", autouse=True)
def kept_output(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Kept"]:
    """What is captured of the tests from now on, with all the lines of the gateway's log that Azure would show."""
    log.setLevel(logging.INFO)
    with Kept(tmp_path_factory.getbasetemp() / CAPTURED) as kept:
        request.config.pluginmanager.register(kept, "kept-output")
        yield kept
        request.config.pluginmanager.unregister(kept)


class Kept:
    """Writes what the tests printed and logged to a file, one part a test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tests: set[str] = set()
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace")

    def __enter__(self) -> "Kept":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        parts = [report.longreprtext] if report.failed else []
        if report.when == "teardown":
            # The last of a test's reports has the sections of all.
            parts += [f"{name}\n{content}" for name, content in report.sections]
            self.tests.add(report.nodeid)
        for part in parts:
            self._file.write(f"{_TEST.decode()}{report.nodeid}\n{part}\n")
        self._file.flush()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Search when all others have run."""
    items.sort(key=lambda item: item.path.name == SEARCH)
