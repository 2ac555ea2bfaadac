"""The command line and the environment, checked before anything is sent."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from scoring_client import __version__
from scoring_client.files import STDIN
from scoring_client.gateway import Target
from scoring_client.output import FORMATS

URL = "http://localhost:7071"

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

_EPILOG = """\
environment:
  SCORING_URL      the gateway, without --url
  SCORING_KEY      the function key, without --key; other users of the machine can read a command line
  SSL_CERT_FILE    the authority that issued the gateway's certificate, if it is not a public one

exit codes:
  0  every image was scored
  1  some were not, or the results could not be written
  2  the command line is invalid
  3  the gateway cannot be reached, or refuses the key
  130  interrupted; the results so far are written

examples:
  scoring-client cat.jpg dog.jpg
  scoring-client --top 1 --out results.jsonl --resume holidays/
  curl -s https://example.com/cat.jpg | scoring-client -
  scoring-client golden check --help
"""


@dataclass(frozen=True)
class Options:
    """The options of a run. ``output`` is one of ``table``, ``jsonl`` and ``json``; ``out`` is empty for stdout."""

    paths: tuple[str, ...]
    target: Target
    output: str = "table"
    out: str = ""
    resume: bool = False
    overwrite: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class _Address:
    url: str
    service: str = ""
    key: str = ""


def parse(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> Options:
    """Read the command line; if it is invalid, print the reason and exit with 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        return _options(given, environ)
    except ValueError as error:
        parser.error(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scoring-client",
        description="Scores photographs with a scoring gateway.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="image files, folders (with all folders below), or - for stdin")
    add("--url", help=f"the gateway (SCORING_URL, else {URL})")
    add("--key", help="its function key (SCORING_KEY)")
    add("--service", default="", help="the inference service (the gateway's default)")
    add("--traffic-key", type=_traffic_key, default="", metavar="KEY", help="score all with the same one of its models")
    add("--top", type=_count(0), metavar="N", help="labels per image (the gateway's 5); 0 for all scores")
    add("--threshold", type=_fraction, metavar="P", help="only labels with at least this score, from 0 to 1")
    add("--output", choices=FORMATS, help="format of the results (table; for a FILE by its name, else jsonl)")
    add("--out", default="", metavar="FILE", help="write the results to this file")
    add("--resume", action="store_true", help="continue the FILE of an earlier run: skip the images scored in it")
    add("--overwrite", action="store_true", help="replace the FILE")
    add("--concurrency", type=_count(1, 64), default=4, metavar="N", help="images at a time (%(default)s)")
    add("--timeout", type=_seconds, default=30.0, metavar="S", help="seconds to wait for a response (%(default)g)")
    add("--max-wait", type=_seconds, default=60.0, metavar="S", help="seconds of pauses per image (%(default)g)")
    add("--quiet", action="store_true", help="no progress, and no summary at the end")
    add("--version", action="version", version=f"scoring-client {__version__}")
    return parser


def connection(url: str | None, key: str | None, environ: Mapping[str, str]) -> tuple[str, str, str]:
    """The gateway's URL, the service that it names, and the key, each from the option or else the environment.

    Raises:
        ValueError: the URL is not a gateway's, or the key cannot be sent.
    """
    address = _address(url or environ.get("SCORING_URL", "").strip() or URL)
    key = key or environ.get("SCORING_KEY", "").strip() or address.key
    _check_key(key, address.url)
    return address.url, address.service, key


def _options(given: argparse.Namespace, environ: Mapping[str, str]) -> Options:
    if given.paths.count(STDIN) > 1:
        raise ValueError("- is given twice, and stdin holds one image")
    output = given.output or _format_of(given.out)
    if given.resume and (not given.out or output != "jsonl"):
        raise ValueError("--resume needs --out FILE, in the format jsonl")
    if given.resume and given.overwrite:
        raise ValueError("--resume and --overwrite contradict each other")
    url, service, key = connection(given.url, given.key, environ)
    return Options(
        paths=tuple(given.paths),
        target=Target(
            url=url,
            key=key,
            service=given.service or service,
            traffic_key=given.traffic_key,
            top=given.top,
            threshold=given.threshold,
            timeout=given.timeout,
            max_wait=given.max_wait,
            concurrency=given.concurrency,
        ),
        output=output,
        out=given.out,
        resume=given.resume,
        overwrite=given.overwrite,
        quiet=given.quiet,
    )


def _format_of(file: str) -> str:
    if not file:
        return "table"
    return "json" if file.lower().endswith(".json") else "jsonl"


def _address(text: str) -> _Address:
    """The gateway at a URL, which may be that of a function as the Azure portal shows it.

    Such a URL holds the function's key as ``code``, which is sent in a header instead, and never shown.

    Raises:
        ValueError: it is not a URL of a gateway.
    """
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port  # raises if it is not a number
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("the URL must have the form https://HOST or http://HOST:PORT")
    if parts.username or parts.password:
        raise ValueError("the URL must not contain a user name or a password")
    path, service = parts.path.rstrip("/"), ""
    if path.endswith("/score"):
        before, _, after = path.removesuffix("/score").rpartition("/api")
        path, service = before, unquote(after.removeprefix("/services/")) if after else ""
    code = parse_qs(parts.query).get("code", [""])[0]
    return _Address(f"{parts.scheme}://{parts.netloc}{path}", service, code)


def _check_key(key: str, url: str) -> None:
    if not key:
        return
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("the key must be printable ASCII without spaces")
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("the key would be sent unencrypted: use an https:// URL, or no key")


def _count(least: int, most: int = 999_999) -> Callable[[str], int]:
    def count(text: str) -> int:
        value = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return value

    return count


def _traffic_key(text: str) -> str:
    if not (text.isascii() and text.isprintable() and text == text.strip() and len(text) <= 256):
        raise argparse.ArgumentTypeError(
            "at most 256 printable ASCII characters are needed, without spaces around them"
        )
    return text


def _fraction(text: str) -> float:
    return _number(text, 0.0, 1.0)


def _seconds(text: str) -> float:
    return _number(text, 0.001, 86_400.0)


def _number(text: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
    return value
