"""The command-line client as a process of its own: installed, interrupted, at a terminal, in a pipe."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.clients.conftest import SOURCE, Answer, Request, Server, scored
from tests.conftest import ROOT

COMMAND = [sys.executable, "-m", "scoring_client"]
PATIENCE = 60


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": "utf-8", **more}


def wait_for(condition: object) -> None:
    assert callable(condition)
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_keeps_what_it_has_and_can_go_on(
    server: Server, photos: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    output, gate = tmp_path / "out.jsonl", threading.Event()

    def answer(request: Request) -> Answer:
        return scored() if request.body == b"a.PNG" else Answer(gate=gate, cut=True)

    server.answer = answer
    arguments = ["--out", str(output), "--concurrency", "2", str(photos)]
    process = subprocess.Popen(
        [*COMMAND, *arguments], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: len(server.requests) == 3)

    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)

    gate.set()
    assert (process.returncode, out) == (code, "")
    assert err == f"scoring-client: interrupted: 1 scored; go on with --resume --out {output}\n"
    assert [Path(json.loads(line)["file"]).name for line in output.read_text().splitlines()] == ["a.PNG"]
    server.answer = lambda _request: scored()
    ended = subprocess.run([*COMMAND, "--resume", *arguments], env=environment(), timeout=PATIENCE, check=False)
    assert ended.returncode == 0
    assert len(output.read_text().splitlines()) == 4


def test_an_interrupted_array_is_complete(server: Server, photos: Path) -> None:
    gate = threading.Event()
    server.answer = lambda request: scored() if request.body == b"a.PNG" else Answer(gate=gate, cut=True)
    process = subprocess.Popen(
        [*COMMAND, "--output", "json", "--concurrency", "1", str(photos)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    wait_for(lambda: len(server.requests) == 2)

    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)

    gate.set()
    assert process.returncode == 130
    assert len(json.loads(out)) == 1


def test_a_reader_that_goes_away_ends_it_quietly(server: Server, photos: Path) -> None:
    gate = threading.Event()
    server.answer = lambda request: scored() if request.body == b"a.PNG" else Answer(gate=gate, status=503)
    process = subprocess.Popen(
        [*COMMAND, "--output", "jsonl", "--max-wait", "0.1", str(photos)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    assert "espresso" in process.stdout.readline()

    process.stdout.close()
    gate.set()

    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(PATIENCE) == 1
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def at_a_terminal(arguments: list[str]) -> tuple[int, str]:
    """Run it with stdout and stderr at a terminal; its exit code and what the terminal got."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(TERM="xterm-256color", COLUMNS="100", LINES="30"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], PATIENCE)[0]:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    return process.wait(PATIENCE), shown.decode()


def test_at_a_terminal_a_bar_shows_how_far_it_is(server: Server, photos: Path) -> None:
    code, shown = at_a_terminal(["--top", "1", str(photos)])

    assert code == 0
    assert len(server.requests) == 4
    assert "4/4" in shown
    assert shown.count("espresso") == 4
    assert "\x1b[?25h" in shown, "the cursor is back"


def test_quiet_shows_no_bar(server: Server, photos: Path) -> None:
    code, shown = at_a_terminal(["--quiet", str(photos)])

    assert code == 0
    assert "\x1b" not in shown
    assert "scored" not in shown
    assert server.requests


def test_results_in_a_pipe_hold_nothing_of_the_bar(server: Server, photos: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, "--output", "jsonl", str(photos)],
        env=environment(),
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )

    assert len([json.loads(line) for line in ended.stdout.splitlines()]) == len(server.requests) == 4
    assert ended.stderr == b""


def test_it_can_be_installed(server: Server, photos: Path, tmp_path: Path) -> None:
    """A wheel is built as pip builds it, without the network, and unpacked; its command then works."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "clients" / "scoring-client", source, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--no-index",
         "--disable-pip-version-check", "--target", str(tmp_path / "site"), str(source)],
        check=True,
        timeout=PATIENCE,
    )  # fmt: skip

    command = tmp_path / "site" / "bin" / "scoring-client"
    ended = subprocess.run(
        [command, "--top", "1", str(photos)],
        env=environment(PYTHONPATH=str(tmp_path / "site")),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "espresso" in ended.stdout
    assert server.requests[0].headers["user-agent"].startswith("scoring-client/")
    assert (tmp_path / "site" / "scoring_client" / "py.typed").is_file()
