"""The command as a process: installed, interrupted, with a terminal and with a pipe."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.clients.gateway_server import Request, Response, Server, scored
from tests.support.clients.packages import install, run
from tests.support.devstack.processes import wait_until

SOURCE = ROOT / "clients" / "scoring-client" / "src"
COMMAND = [sys.executable, "-m", "scoring_client"]
TIMEOUT = 60


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": "utf-8", **more}


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_writes_its_results_and_can_be_resumed(
    server: Server, photos: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    output, gate = tmp_path / "out.jsonl", threading.Event()

    def respond(request: Request) -> Response:
        return scored() if request.body == b"a.PNG" else Response(gate=gate, cut=True)

    server.respond = respond
    arguments = ["--out", str(output), "--concurrency", "2", str(photos)]
    process = start(*arguments)
    wait_until(lambda: len(server.requests) == 3, "three requests")

    process.send_signal(number)
    out, err = process.communicate(timeout=TIMEOUT)

    gate.set()
    assert (process.returncode, out) == (code, "")
    assert err == f"scoring-client: interrupted: 1 scored; continue with --resume --out {output}\n"
    assert [Path(json.loads(line)["file"]).name for line in output.read_text().splitlines()] == ["a.PNG"]
    server.respond = lambda _request: scored()
    ended = subprocess.run([*COMMAND, "--resume", *arguments], env=environment(), timeout=TIMEOUT, check=False)
    assert ended.returncode == 0
    assert len(output.read_text().splitlines()) == 4


def test_an_interrupted_array_is_complete(server: Server, photos: Path) -> None:
    gate = threading.Event()
    server.respond = lambda request: scored() if request.body == b"a.PNG" else Response(gate=gate, cut=True)
    process = start("--output", "json", "--concurrency", "1", str(photos))
    wait_until(lambda: len(server.requests) == 2, "two requests")

    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=TIMEOUT)

    gate.set()
    assert process.returncode == 130
    assert len(json.loads(out)) == 1


def test_a_closed_pipe_ends_the_run_without_a_traceback(server: Server, photos: Path) -> None:
    gate = threading.Event()
    server.respond = lambda request: scored() if request.body == b"a.PNG" else Response(gate=gate, status=503)
    process = start("--output", "jsonl", "--max-wait", "0.1", str(photos))
    assert process.stdout
    assert process.stderr
    assert "espresso" in process.stdout.readline()

    process.stdout.close()
    gate.set()

    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(TIMEOUT) == 1
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def run_in_terminal(arguments: list[str]) -> tuple[int, str]:
    """Run the command in a terminal; returns its exit code and the terminal's output."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(TERM="xterm-256color", COLUMNS="100", LINES="30"),
        stdin=end,
        stdout=end,
        stderr=end,
    )
    os.close(end)
    output = b""
    while select.select([terminal], [], [], TIMEOUT)[0]:
        try:
            output += os.read(terminal, 65536)
        except OSError:  # the process has closed its end
            break
    os.close(terminal)
    return process.wait(TIMEOUT), output.decode()


def test_a_terminal_has_a_progress_bar(server: Server, photos: Path) -> None:
    code, output = run_in_terminal(["--top", "1", str(photos)])

    assert code == 0
    assert len(server.requests) == 4
    assert "4/4" in output
    assert output.count("espresso") == 4
    assert "\x1b[?25h" in output, "the cursor is visible again"


def test_with_quiet_there_is_no_progress_bar(server: Server, photos: Path) -> None:
    code, output = run_in_terminal(["--quiet", str(photos)])

    assert code == 0
    assert "\x1b" not in output
    assert "scored" not in output
    assert server.requests


def test_a_pipe_has_no_progress_bar(server: Server, photos: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, "--output", "jsonl", str(photos)],
        env=environment(),
        capture_output=True,
        timeout=TIMEOUT,
        check=True,
    )

    assert len([json.loads(line) for line in ended.stdout.splitlines()]) == len(server.requests) == 4
    assert ended.stderr == b""


def test_the_installed_command_works(server: Server, photos: Path, tmp_path: Path) -> None:
    site = install("scoring-client", tmp_path)

    ended = run([site / "bin" / "scoring-client", "--top", "1", str(photos)], site, tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert "espresso" in ended.stdout
    assert server.requests[0].headers["user-agent"].startswith("scoring-client/")
    assert (site / "scoring_client" / "py.typed").is_file()
