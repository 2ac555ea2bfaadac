"""Searches the output of the tests for the secrets that they created (``tests/system/test_secrets.py``).

As a plugin, it writes the output that pytest captures of each test, and the failures that pytest reports, to a file in
the session's base temporary folder, and moves the search to the end of the tests. The same folder contains the output
of the tests' servers, and the secrets, in the state of those servers.
"""

import base64
import contextlib
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from shared.telemetry import log

# Secrets are searched for in pieces, so that parts of them are found too: any part of twice this length has a piece.
# Shorter pieces occur by chance; so do pieces of eight hexadecimal digits, which are frequent in identifiers.
PIECE, HEX_PIECE = 8, 16
# Shorter values are literals in tests, not secrets.
SHORTEST = 16

CAPTURED = "captured-output.log"
SEARCH = "test_secrets.py"

# The files with the output of programs, and files that they write for other programs.
_OUTPUT_SUFFIXES = {".log", ".out", ".err", ".jsonl"}
_OUTPUT_NAMES = {"log", "addresses.json"}
# The files with the state of servers, and the members of their JSON that contain secrets.
_STATE_SUFFIXES = {".json", ".key", ".pem"}
_MEMBERS = {"value", "key", "primary_key", "secondary_key", "primaryKey", "secondaryKey", "master", "default"}

# `up --enable-auth` prints the default function key intentionally, because its user must send it.
_PRINTED_INTENTIONALLY = re.compile(rb"^  x-functions-key +\S+$", re.MULTILINE)

# Signed tokens and the beginning of private keys, which are found in any output even if no state contains them.
_PATTERNS = {
    "a token": re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}"),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:\\+[nr]|\s)*[A-Za-z0-9+/]{40}"),
}
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)
_RUN = re.compile(rb"[A-Za-z0-9+/_=~.-]{8,}")
_LARGEST_STATE = 4_000_000
# Parameters for Azure: the project's own samples, which tests copy, and they are public.
_PUBLIC = ".parameters.json"
_TEST = b"\n==== "


@dataclass(frozen=True)
class Leak:
    """A secret that was found in an output; both are identified by their origin, never by the value."""

    secret: str
    place: str

    def __str__(self) -> str:
        return f"{self.secret} is in {self.place}"


@dataclass
class Secrets:
    """Secrets to search for: their pieces, with the first origin of each."""

    # Not in the representation, which pytest prints for a failed assertion.
    pieces: dict[bytes, str] = field(default_factory=dict, repr=False)
    origins: set[str] = field(default_factory=set)

    def add(self, text: str, origin: str) -> None:
        """Add a value if it looks random, and the private keys in it."""
        if looks_random(text):
            self._add_pieces(text, origin)
        for pem in _PRIVATE_KEY.findall(text):
            # The other parts of a key are the same in other keys, or public.
            for line in private_lines(pem.encode()):
                self._add_pieces(line, f"the private key in {origin}")

    def add_bytes(self, value: bytes, origin: str) -> None:
        """Add a binary key, in the encodings in which it may be printed."""
        for text in (value.hex(), base64.b64encode(value).decode(), base64.urlsafe_b64encode(value).decode()):
            self.add(text.rstrip("="), origin)

    def find(self, content: bytes) -> Iterator[tuple[int, str]]:
        """The offset of each piece in the content, and its origin."""
        for name, pattern in _PATTERNS.items():
            yield from ((match.start(), name) for match in pattern.finditer(content))
        for run in _RUN.finditer(content):
            text = run[0]
            for at in range(len(text) - PIECE + 1):
                origin = self.pieces.get(text[at : at + PIECE]) or self.pieces.get(text[at : at + HEX_PIECE])
                if origin:
                    yield run.start() + at, origin

    def _add_pieces(self, text: str, origin: str) -> None:
        size = HEX_PIECE if re.fullmatch("[0-9a-fA-F]+", text) else PIECE
        for start in range(0, len(text) - size + 1, size):
            self.origins.add(origin)
            self.pieces.setdefault(text[start : start + size].encode(), origin)


def looks_random(value: str) -> bool:
    """Whether the value looks like generated random text, not like a literal."""
    if len(value) < SHORTEST or not re.fullmatch(r"[A-Za-z0-9+/_=~.-]+", value):
        return False
    kinds = sum(bool(re.search(kind, value)) for kind in ("[0-9]", "[a-z]", "[A-Z]"))
    # "0123456789abcdef" has sixteen different characters, but few different steps between them.
    steps = {ord(after) - ord(before) for before, after in pairwise(value)}
    return kinds >= 2 and len(set(value)) >= 8 and len(steps) >= 8


def private_lines(pem: bytes) -> Iterator[str]:
    """The parts of a PEM private key's lines that encode its private numbers; none if the key cannot be parsed."""
    try:
        key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError):
        return
    lines = [line for line in pem.decode().split() if re.fullmatch("[A-Za-z0-9+/=]+", line) and len(line) > PIECE]
    encoded = base64.b64decode("".join(lines))
    for number in _private_numbers(key):
        at = encoded.find(number)
        # The characters that only encode bits of this number; each encodes six.
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


def collect(folder: Path) -> Secrets:
    """All secrets in the state of the programs below a folder."""
    found = Secrets()
    for path in sorted(folder.rglob("*")):
        # Tests also damage state, remove it and revoke permissions: such files are skipped.
        with contextlib.suppress(OSError, ValueError, RecursionError):
            if path.name.endswith(_PUBLIC):
                continue
            if path.suffix in _STATE_SUFFIXES and path.is_file() and path.stat().st_size < _LARGEST_STATE:
                _read(found, path.read_bytes(), path.relative_to(folder))
    return found


def _read(found: Secrets, content: bytes, path: Path) -> None:
    if path.name == "signing.key":
        found.add_bytes(content, str(path))
    elif path.suffix == ".json":
        for name, text in _texts(json.loads(content)):
            if name in _MEMBERS or path.name.endswith("keys.json"):
                found.add(text, f"{name} in {path}")
    else:
        found.add(content.decode(), str(path))


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """All strings in a JSON document, with the names of the members that they are in."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for inner, each in value.items():
            yield from _texts(each, inner)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, name)


def outputs(folder: Path) -> list[Path]:
    """The files below a folder with the output of programs and tests."""
    files = (path for path in folder.rglob("*") if path.suffix in _OUTPUT_SUFFIXES or path.name in _OUTPUT_NAMES)
    return sorted(path for path in files if path.is_file())


def search(folder: Path, secrets: Secrets) -> list[Leak]:
    """All secrets in the outputs below a folder, once for each place."""
    leaks: dict[Leak, None] = {}
    for path in outputs(folder):
        content = path.read_bytes()
        if path.suffix == ".out":
            content = _PRINTED_INTENTIONALLY.sub(b"", content)
        for start, secret in secrets.find(content):
            leaks[Leak(secret, f"{path.relative_to(folder)}{_test(content[:start])}")] = None
    return list(leaks)


def _test(before: bytes) -> str:
    """The test whose output the place is in, if the file is divided by tests."""
    _, heading, after = before.rpartition(_TEST)
    return f", {after.partition(b'\n')[0].decode(errors='replace')}" if heading else ""


@pytest.fixture(scope="session", autouse=True)
def captured_output(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["CapturedOutput"]:
    """Records the captured output of the tests, including the gateway's log at the level that Azure uses."""
    log.setLevel(logging.INFO)
    with CapturedOutput(tmp_path_factory.getbasetemp() / CAPTURED) as captured:
        request.config.pluginmanager.register(captured, "captured-output")
        yield captured
        request.config.pluginmanager.unregister(captured)


class CapturedOutput:
    """Writes the output and log of the tests to a file, with one part per test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tests: set[str] = set()
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace")

    def __enter__(self) -> "CapturedOutput":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        parts = [report.longreprtext] if report.failed else []
        if report.when == "teardown":
            # The last report of a test has the sections of all its phases.
            parts += [f"{name}\n{content}" for name, content in report.sections]
            self.tests.add(report.nodeid)
        for part in parts:
            self._file.write(f"{_TEST.decode()}{report.nodeid}\n{part}\n")
        self._file.flush()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the search to the end."""
    items.sort(key=lambda item: item.path.name == SEARCH)
