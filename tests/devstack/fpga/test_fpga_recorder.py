import json
from pathlib import Path

from devstack.fpga import Call, Recorder

CALL = Call("/service/Method", "primary", "ipv4:127.0.0.1:1", 2.5, 10, {"traceparent": "00-1-2-03"})


def test_calls_are_kept_up_to_a_thousand() -> None:
    recorder = Recorder()
    for size in range(1001):
        recorder.add(Call("/service/Method", "none", "", None, size, {}))
    assert (len(recorder.calls), recorder.calls[0].request_bytes) == (1000, 1)


def test_calls_are_appended_to_a_file_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    for _ in range(2):
        recorder = Recorder(file)
        recorder.add(CALL)
        assert Call(**json.loads(file.read_text().splitlines()[-1])) == CALL  # at once, not at the end
        recorder.close()
        recorder.close()
    assert len(file.read_text().splitlines()) == 2
