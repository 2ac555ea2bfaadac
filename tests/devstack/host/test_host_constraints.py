import pytest

from devstack.host.constraints import constraint

GUID = "c8f2a6b0-1d2e-4f3a-9b8c-7d6e5f4a3b2c"


@pytest.mark.parametrize(
    ("text", "accepted", "refused"),
    [
        ("int", ["0", "-5", "2147483647"], ["2147483648", "1.5", "x", ""]),
        ("long", ["9223372036854775807"], ["9223372036854775808", "a"]),
        ("bool", ["true", "FALSE"], ["yes", "1"]),
        ("datetime", ["2024-02-29", "2024-02-29T10:00:00", "12/31/2016"], ["2023-02-29", "soon"]),
        ("decimal", ["1.5", "-1,000.25"], ["1.5.2", "NaN", "x"]),
        ("double", ["1.5", "-2e3", ".5"], ["e3", "x"]),
        ("float", ["1"], ["one"]),
        ("guid", [GUID, GUID.replace("-", ""), f"{{{GUID}}}"], ["c8f2", "z" * 32]),
        ("alpha", ["abcXYZ", ""], ["a1", "ä"]),
        ("required", ["x"], [""]),
        ("length(3)", ["abc"], ["ab", "abcd"]),
        ("length(2,3)", ["ab", "abc"], ["a", "abcd"]),
        ("minlength(2)", ["ab"], ["a"]),
        ("maxlength(0)", [""], ["a"]),
        ("min(18)", ["18", "99"], ["17", "x"]),
        ("max(18)", ["-1", "18"], ["19"]),
        ("range(2,4)", ["2", "4"], ["1", "5"]),
        (r"regex(^\d+$)", ["12"], ["a12"]),
        ("regex(cat)", ["Concatenate", "CAT"], ["dog"]),
    ],
)
def test_a_constraint_tells_values_apart(text: str, accepted: list[str], refused: list[str]) -> None:
    check = constraint(text)
    assert [value for value in accepted if not check(value)] == []
    assert [value for value in refused if check(value)] == []


@pytest.mark.parametrize("text", ["nosuch", "int(3)", "length", "length(1,2,3)", "range(1)", "regex"])
def test_an_unknown_constraint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no route constraint|does not have the numbers"):
        constraint(text)
