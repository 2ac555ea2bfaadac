"""Parsing of the command line and the environment."""

import pytest
from scoring_client.options import Options, parse


def usage_error(capsys: pytest.CaptureFixture[str], *arguments: str, **environ: str) -> str:
    """The error message for an invalid command line."""
    with pytest.raises(SystemExit) as ended:
        parse([*arguments, "cat.jpg"], environ)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1].removeprefix("scoring-client: error: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "cats.example.com"], "the URL must have the form https://HOST"),
        (["--url", "ftp://cats.example.com"], "the URL must have the form https://HOST"),
        (["--url", "http://localhost:many"], "the URL must have the form https://HOST"),
        (["--url", "http://[::1"], "the URL must have the form https://HOST"),
        (["--url", "https://me:secret@cats.example.com"], "the URL must not contain a user name"),
        (["--url", "http://cats.example.com", "--key", "secret"], "the key would be sent unencrypted"),
        (["--url", "http://cats.example.com/api/score?code=secret"], "the key would be sent unencrypted"),
        (["--key", "secret\n"], "the key must be printable ASCII"),
        (["--key", "sec ret"], "the key must be printable ASCII"),
        (["--key", "sécret"], "the key must be printable ASCII"),
        (["--resume"], "--resume needs --out FILE"),
        (["--resume", "--out", "out.json"], "--resume needs --out FILE, in the format jsonl"),
        (["--resume", "--overwrite", "--out", "out.jsonl"], "contradict each other"),
        (["-", "-"], "- is given twice"),
        (["--top", "-1"], "'-1' is not a whole number from 0"),
        (["--top", "some"], "'some' is not a whole number from 0"),
        (["--concurrency", "0"], "'0' is not a whole number from 1 to 64"),
        (["--traffic-key", "two\nlines"], "at most 256 printable ASCII characters are needed"),
        (["--threshold", "2"], "'2' is not a number from 0 to 1"),
        (["--threshold", "nan"], "'nan' is not a number from 0 to 1"),
        (["--timeout", "0"], "'0' is not a number from 0.001"),
        (["--output", "xml"], "invalid choice: 'xml'"),
    ],
)
def test_invalid_command_lines_are_rejected(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    error = usage_error(capsys, *arguments)

    assert message in error
    assert "secret" not in error
    assert "sec ret" not in error


def test_a_path_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([], {})

    assert ended.value.code == 2
    assert "required: PATH" in capsys.readouterr().err


def options(*arguments: str, **environ: str) -> Options:
    return parse([*arguments, "cat.jpg"], environ)


def test_the_command_line_overrides_the_environment() -> None:
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
def test_the_url_of_a_function_is_accepted(url: str, base: str, service: str, key: str) -> None:
    target = options("--url", url).target

    assert (target.url, target.service, target.key) == (base, service, key)


def test_a_key_setting_overrides_the_key_in_the_url() -> None:
    assert options("--url", "https://x.example.com/api/score?code=abc", SCORING_KEY="def").target.key == "def"


def test_the_representation_omits_the_key() -> None:
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
def test_the_format_is_derived_from_the_file_name(arguments: list[str], output: str) -> None:
    assert options(*arguments).output == output
