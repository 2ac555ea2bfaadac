"""The command line of the command-line client: what is refused before anything is sent."""

import pytest
from scoring_client.options import Options, parse


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str, **environ: str) -> str:
    """What is said of a command line that makes no sense."""
    with pytest.raises(SystemExit) as ended:
        parse([*arguments, "cat.jpg"], environ)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1].removeprefix("scoring-client: error: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--url", "cats.example.com"], "the URL must be of the form https://HOST"),
        (["--url", "ftp://cats.example.com"], "the URL must be of the form https://HOST"),
        (["--url", "http://localhost:many"], "the URL must be of the form https://HOST"),
        (["--url", "http://[::1"], "the URL must be of the form https://HOST"),
        (["--url", "https://me:secret@cats.example.com"], "the URL must hold no user name and no password"),
        (["--url", "http://cats.example.com", "--key", "secret"], "the key would travel unencrypted"),
        (["--url", "http://cats.example.com/api/score?code=secret"], "the key would travel unencrypted"),
        (["--key", "secret\n"], "the key must be printable ASCII"),
        (["--key", "sec ret"], "the key must be printable ASCII"),
        (["--key", "sécret"], "the key must be printable ASCII"),
        (["--resume"], "--resume needs --out FILE"),
        (["--resume", "--out", "out.json"], "--resume needs --out FILE, with the form jsonl"),
        (["--resume", "--overwrite", "--out", "out.jsonl"], "contradict each other"),
        (["-", "-"], "- is named twice"),
        (["--top", "-1"], "'-1' is no whole number from 0"),
        (["--top", "some"], "'some' is no whole number from 0"),
        (["--concurrency", "0"], "'0' is no whole number from 1 to 64"),
        (["--threshold", "2"], "'2' is no number from 0 to 1"),
        (["--threshold", "nan"], "'nan' is no number from 0 to 1"),
        (["--timeout", "0"], "'0' is no number from 0.001"),
        (["--output", "xml"], "invalid choice: 'xml'"),
    ],
)
def test_what_makes_no_sense(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    told = refusal(capsys, *arguments)

    assert words in told
    assert "secret" not in told
    assert "sec ret" not in told


def test_a_command_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([], {})

    assert ended.value.code == 2
    assert "required: PATH" in capsys.readouterr().err


def options(*arguments: str, **environ: str) -> Options:
    return parse([*arguments, "cat.jpg"], environ)


def test_the_environment_is_asked_after_the_command_line() -> None:
    environ = {"SCORING_URL": "https://a.example.com/", "SCORING_KEY": "one"}

    by_environment = options(**environ).target
    by_line = options("--url", "https://b.example.com", "--key", "two", **environ).target

    assert (by_environment.url, by_environment.key) == ("https://a.example.com", "one")
    assert (by_line.url, by_line.key) == ("https://b.example.com", "two")
    assert options().target.url == "http://localhost:7071"


@pytest.mark.parametrize(
    ("url", "base", "service", "key"),
    [
        ("https://x.example.com/api/score?code=abc==", "https://x.example.com", "", "abc=="),
        ("https://x.example.com/api/services/my%20cats/score", "https://x.example.com", "my cats", ""),
        ("https://x.example.com/behind/api/score", "https://x.example.com/behind", "", ""),
        ("https://x.example.com/behind/", "https://x.example.com/behind", "", ""),
        ("http://[::1]:7071", "http://[::1]:7071", "", ""),
    ],
)
def test_the_url_of_a_function_will_do(url: str, base: str, service: str, key: str) -> None:
    target = options("--url", url).target

    assert (target.url, target.service, target.key) == (base, service, key)


def test_a_key_of_its_own_comes_before_the_one_in_the_url() -> None:
    assert options("--url", "https://x.example.com/api/score?code=abc", SCORING_KEY="def").target.key == "def"


def test_the_key_is_not_shown() -> None:
    assert "the-secret" not in repr(options("--url", "https://x.example.com", "--key", "the-secret"))


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ([], "table"),
        (["--out", "x.jsonl"], "jsonl"),
        (["--out", "x.JSON"], "json"),
        (["--out", "x"], "jsonl"),
        (["--out", "x.json", "--output", "table"], "table"),
    ],
)
def test_the_form_follows_from_the_files_name(arguments: list[str], output: str) -> None:
    assert options(*arguments).output == output
