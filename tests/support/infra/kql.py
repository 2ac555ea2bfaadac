"""Checks KQL queries: reads the part of the language that the alerts use, and finds their columns in the tables.

Anything else of the language is a fault here; whoever needs more adds it. Types are those of
https://learn.microsoft.com/azure/azure-monitor/reference/tables, by the names that Application Insights has for them.
"""

import re
from collections.abc import Iterator, Mapping

# `success` is a text in one schema of Application Insights and a truth value in the other.
_COMMON = {
    **dict.fromkeys(("timestamp",), "datetime"),
    **dict.fromkeys(("operation_Name", "operation_Id", "cloud_RoleName", "cloud_RoleInstance", "itemType"), "string"),
    "customDimensions": "dynamic",
    "itemCount": "number",
}
TABLES: Mapping[str, Mapping[str, str]] = {
    "requests": {
        **_COMMON,
        **dict.fromkeys(("id", "name", "url", "resultCode", "performanceBucket"), "string"),
        "success": "dynamic",
        "duration": "number",
    },
    "traces": {**_COMMON, "message": "string", "severityLevel": "number"},
    "exceptions": {**_COMMON, **dict.fromkeys(("type", "method", "outerMessage", "problemId"), "string")},
    "customMetrics": {
        **_COMMON,
        "name": "string",
        **dict.fromkeys(("value", "valueCount", "valueSum", "valueMin", "valueMax"), "number"),
    },
}
# The types of the arguments, then of the result.
_SCALARS = {
    **dict.fromkeys(("toint", "tolong", "todouble", "toreal"), ("any", "number")),
    "tobool": ("any", "bool"),
    "tostring": ("any", "string"),
    "ago": ("timespan", "datetime"),
    "bin": ("any", "any", "any"),
    "isnotempty": ("any", "bool"),
    "iff": ("bool", "any", "any", "any"),
}
_AGGREGATES = {
    "count": ("number",),
    "countif": ("bool", "number"),
    "dcount": ("any", "number"),
    **dict.fromkeys(("sum", "avg", "min", "max"), ("number", "number")),
    "sumif": ("number", "bool", "number"),
    "percentile": ("number", "number", "number"),
}
_TOKEN = re.compile(
    r"""\s*(?:(?P<timespan>\d+(?:ms|d|h|m|s)\b)|(?P<number>\d+(?:\.\d+)?)|(?P<string>"[^"]*"|'[^']*')"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<sign>==|!=|<=|>=|=~|!in\b|[-+*/<>=(),|.]))"""
)
_TEXT_OPERATORS = {"startswith", "contains", "has", "endswith", "=~"}
_COMPARISONS = {"==", "!=", "<", "<=", ">", ">=", *_TEXT_OPERATORS}


class Fault(Exception):
    """The query cannot be read, or does not fit the tables."""


def faults(query: str) -> list[str]:
    """What is wrong with a query; nothing where it may run."""
    try:
        _Query(query).check()
    except Fault as fault:
        return [str(fault)]
    return []


class _Query:
    # _tokens   kind and text; ended by an empty one
    # _columns  those of the table, or of what the last operator made of it

    def __init__(self, query: str) -> None:
        self._tokens = [*_tokens(query), ("end", "")]
        self._at = 0
        self._columns: dict[str, str] = {}

    def check(self) -> None:
        table = self._take("name")
        if table not in TABLES:
            raise Fault(f"{table} is not a known table")
        self._columns = dict(TABLES[table])
        while self._next("|"):
            operator = self._take("name")
            read = {"where": self._where, "summarize": self._summarize, "extend": self._extend}.get(operator)
            if read is None:
                raise Fault(f"{operator} is not a known operator")
            read()
        if self._tokens[self._at][0] != "end":
            raise Fault(f"{self._tokens[self._at][1]} is not expected")

    def _where(self) -> None:
        self._expect("bool", self._either(), "where")

    def _extend(self) -> None:
        self._columns |= dict(self._assignments())

    def _summarize(self) -> None:
        made = dict(self._assignments(_AGGREGATES))
        if self._next("by"):
            made |= dict(self._assignments())
        self._columns = made

    def _assignments(self, functions: Mapping[str, tuple[str, ...]] | None = None) -> Iterator[tuple[str, str]]:
        while True:
            name = self._tokens[self._at][1]
            if self._tokens[self._at + 1][1] == "=":
                self._at += 2
            yield name, self._either(functions)
            if not self._next(","):
                return

    def _either(self, functions: Mapping[str, tuple[str, ...]] | None = None) -> str:
        found = self._comparison(functions)
        while (word := self._tokens[self._at][1]) in {"and", "or"}:
            self._at += 1
            self._expect("bool", found, word)
            self._expect("bool", self._comparison(functions), word)
        return found

    def _comparison(self, functions: Mapping[str, tuple[str, ...]] | None) -> str:
        left = self._sum(functions)
        operator = self._tokens[self._at][1]
        if operator in {"in", "!in"}:
            self._at += 1
            self._sign("(")
            for one in self._arguments(functions):
                self._expect(left, one, operator)
            return "bool"
        if operator not in _COMPARISONS:
            return left
        self._at += 1
        self._expect("string" if operator in _TEXT_OPERATORS else left, self._sum(functions), operator)
        if operator in _TEXT_OPERATORS:
            self._expect("string", left, operator)
        return "bool"

    def _sum(self, functions: Mapping[str, tuple[str, ...]] | None) -> str:
        found = self._one(functions)
        while (sign := self._tokens[self._at][1]) in {"+", "-", "*", "/"}:
            self._at += 1
            right = self._one(functions)
            if found != "datetime":
                self._expect("number", found, sign)
                self._expect("number", right, sign)
        return found

    def _one(self, functions: Mapping[str, tuple[str, ...]] | None) -> str:
        kind, text = self._tokens[self._at]
        self._at += 1
        if text == "(":
            found = self._either(functions)
            self._sign(")")
            return found
        if kind in {"number", "string", "timespan"}:
            return kind
        if kind != "name":
            raise Fault(f"{text or 'the end'} is not expected")
        if text in {"true", "false"}:
            return "bool"
        if self._next("("):
            return self._call(text, functions)
        if text not in self._columns:
            raise Fault(f"{text} is not a column; there are {', '.join(sorted(self._columns))}")
        found = self._columns[text]
        while self._next("."):
            self._expect("dynamic", found, ".")
            self._take("name")
        return found

    def _call(self, name: str, functions: Mapping[str, tuple[str, ...]] | None) -> str:
        known = {**_SCALARS, **(functions or {})}
        if name not in known:
            raise Fault(f"{name} is not a known function here")
        *expected, result = known[name]
        # What is within an aggregate is of a row.
        given = list(self._arguments(None))
        if len(given) != len(expected):
            raise Fault(f"{name} takes {len(expected)} arguments, not {len(given)}")
        for wanted, found in zip(expected, given, strict=True):
            self._expect(wanted, found, name)
        return result

    def _arguments(self, functions: Mapping[str, tuple[str, ...]] | None) -> Iterator[str]:
        if self._next(")"):
            return
        yield self._either(functions)
        while self._next(","):
            yield self._either(functions)
        self._sign(")")

    def _expect(self, wanted: str, found: str, where: str) -> None:
        # Values of `dynamic` must be converted: compared as they are, they may never be equal.
        if wanted not in {found, "any"} and found != "any":
            raise Fault(f"{where}: {found}, where {wanted} is expected")

    def _take(self, kind: str) -> str:
        found, text = self._tokens[self._at]
        if found != kind:
            raise Fault(f"{text or 'the end'} is not expected")
        self._at += 1
        return text

    def _sign(self, sign: str) -> None:
        if not self._next(sign):
            raise Fault(f"{sign} is missing before {self._tokens[self._at][1] or 'the end'}")

    def _next(self, text: str) -> bool:
        is_it = self._tokens[self._at][1] == text and self._tokens[self._at][0] != "string"
        self._at += is_it
        return is_it


def _tokens(query: str) -> Iterator[tuple[str, str]]:
    at, query = 0, query.rstrip()
    while at < len(query):
        found = _TOKEN.match(query, at)
        if found is None:
            raise Fault(f"{query[at : at + 20]!r} is not expected")
        assert found.lastgroup is not None
        yield found.lastgroup, found[found.lastgroup]
        at = found.end()
