import pytest

from devstack.host.templates import Literal, Parameter, parse_template, precedence


def test_a_template_is_segments_of_literals_and_parameters() -> None:
    assert parse_template("/v1/models/{model}:predict") == (
        (Literal("v1"),),
        (Literal("models"),),
        (Parameter("model"), Literal(":predict")),
    )


def test_a_parameter_can_be_optional_have_a_default_or_take_the_rest() -> None:
    assert parse_template("{a?}") == ((Parameter("a", optional=True),),)
    assert parse_template("{a=one}") == ((Parameter("a", default="one"),),)
    assert parse_template("{*a}") == parse_template("{**a}") == ((Parameter("a", catch_all=True),),)


def test_a_doubled_brace_is_text() -> None:
    assert parse_template("a{{b}}c") == ((Literal("a{b}c"),),)


def test_a_constraint_may_hold_slashes_braces_and_colons() -> None:
    ((parameter,),) = parse_template(r"{code:regex(^[a-z]{{2}}:/$)}")
    assert isinstance(parameter, Parameter)
    assert parameter.checks[0]("de:/")
    assert not parameter.checks[0]("d:/")


@pytest.mark.parametrize("template", ["", "/", "~/"])
def test_an_empty_template_is_the_root(template: str) -> None:
    assert parse_template(template) == ()


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("a//b", "empty segment"),
        ("{a", "not closed"),
        ("{a{b}}", "not closed"),
        ("a}", "stands alone"),
        ("{}", "no valid parameter name"),
        ("{a}{b}", "needs text between"),
        ("{a}/{A}", "occurs twice"),
        ("{*a}/b", "must be the last segment"),
        ("x{*a}", "must be the last segment"),
        ("{*a?}", "cannot be optional"),
        ("{a?}.txt", "must end its segment"),
        ("{a}-{b?}", "must end its segment"),
        ("{a:nosuch}", "no route constraint"),
        ("{a:length(x)}", "does not have the numbers"),
        ("{a:regex([)}", "no regular expression"),
    ],
)
def test_a_malformed_template_is_refused_with_its_fault(template: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_template(template)


def test_the_more_specific_template_comes_first() -> None:
    ranked = ["items/list", "items/{id:int}", "items/{id}", "items/{*rest:int}", "items/{*rest}"]
    alphabetical = sorted(ranked)
    assert alphabetical != ranked
    assert sorted(alphabetical, key=lambda template: precedence(parse_template(template))) == ranked
