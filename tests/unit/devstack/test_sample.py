"""What is printed of the sample photograph's score, or of the problem."""

from types import SimpleNamespace

import httpx
import pytest

from devstack.sample import problem_of, table

ANSWER = {
    "service": "imagenet",
    "predictions": [{"labels": [{"label": "espresso", "score": 0.951}, {"label": "cup", "score": 0.015}]}],
}
PROBLEM = {"title": "Key Vault cannot be reached", "detail": "It gave no answer.", "remedy": "Start it."}


@pytest.mark.parametrize(("encoding", "bar"), [("utf-8", "█"), ("iso8859-1", "#"), (None, "#")])
def test_the_table_aligns_labels_scores_and_bars(
    monkeypatch: pytest.MonkeyPatch, encoding: str | None, bar: str
) -> None:
    monkeypatch.setattr("sys.stdout", SimpleNamespace(encoding=encoding))

    assert table("cup.jpg", ANSWER, "decode;dur=1.5, total;dur=2.5").splitlines()[3:] == [
        "  espresso   95.10%  " + 23 * bar,
        "  cup         1.50%",
        "",
        "  decode 1.5, total 2.5 (ms)",
    ]


def test_a_problem_is_printed_with_its_remedy() -> None:
    kind = {"Content-Type": "application/problem+json; charset=utf-8"}
    assert problem_of(httpx.Response(503, json=PROBLEM, headers=kind)) == (
        "The sample photograph was not scored: Key Vault cannot be reached. It gave no answer. Start it."
    )
    assert problem_of(httpx.Response(404)) == "The sample photograph was not scored: status 404."
