import datetime as dt

import pytest

from devstack.host import ncrontab


def _times(expression: str, start: str, count: int) -> list[str]:
    moment: dt.datetime | None = dt.datetime.fromisoformat(start)
    schedule, times = ncrontab.parse(expression), []
    for _ in range(count):
        assert moment is not None
        moment = schedule.next_after(moment)
        times.append(str(moment))
    return times


@pytest.mark.parametrize(
    ("expression", "start", "times"),
    [
        # 2024 is a leap year, and its first of January is a Monday.
        ("* * * * * *", "2024-01-01 00:00:00", ["2024-01-01 00:00:01", "2024-01-01 00:00:02"]),
        ("*/5 * * * * *", "2024-01-01 00:00:56", ["2024-01-01 00:01:00", "2024-01-01 00:01:05"]),
        ("0 */5 * * * *", "2024-01-01 00:01:00", ["2024-01-01 00:05:00", "2024-01-01 00:10:00"]),
        ("*/5 * * * *", "2024-01-01 00:01:00", ["2024-01-01 00:05:00"]),
        ("0 0 * * * *", "2024-01-01 10:00:00", ["2024-01-01 11:00:00"]),
        ("0 30 9 * * *", "2024-01-01 09:29:59.999", ["2024-01-01 09:30:00", "2024-01-02 09:30:00"]),
        ("0 30 9-11 * * *", "2024-01-01 10:00:00", ["2024-01-01 10:30:00", "2024-01-01 11:30:00"]),
        ("0 0 9-17/4 * * *", "2024-01-01 00:00:00", ["2024-01-01 09:00:00", "2024-01-01 13:00:00"]),
        ("0 5/20 * * * *", "2024-01-01 00:00:00", ["2024-01-01 00:05:00", "2024-01-01 00:25:00"]),
        ("0 0 0 1,15 * *", "2024-01-02 00:00:00", ["2024-01-15 00:00:00", "2024-02-01 00:00:00"]),
        ("0 0 0 * * MON", "2024-01-01 00:00:00", ["2024-01-08 00:00:00"]),
        ("0 0 0 * * 1-5", "2024-01-05 00:00:00", ["2024-01-08 00:00:00"]),
        ("0 0 0 * * Sat,Sun", "2024-01-01 00:00:00", ["2024-01-06 00:00:00", "2024-01-07 00:00:00"]),
        ("0 0 0 * * 0", "2024-01-01 00:00:00", ["2024-01-07 00:00:00"]),
        ("0 0 0 * * 7", "2024-01-01 00:00:00", ["2024-01-07 00:00:00"]),
        ("0 0 0 * * 5-7", "2024-01-05 00:00:00", ["2024-01-06 00:00:00", "2024-01-07 00:00:00"]),
        ("0 0 0 * JAN,july *", "2024-01-31 00:00:00", ["2024-07-01 00:00:00"]),
        ("0 0 0 29 2 *", "2024-02-29 00:00:00", ["2028-02-29 00:00:00"]),
        ("0 0 0 31 * *", "2024-01-31 00:00:00", ["2024-03-31 00:00:00"]),
        # Both day fields must fit, unlike in Unix cron.
        ("0 0 0 13 * FRI", "2024-01-01 00:00:00", ["2024-09-13 00:00:00"]),
        ("59 59 23 31 12 *", "2024-12-31 23:59:58", ["2024-12-31 23:59:59", "2025-12-31 23:59:59"]),
        ("0 0 0 29 2 MON", "2024-03-01 00:00:00", ["2044-02-29 00:00:00"]),
    ],
)
def test_the_next_times_of_an_expression(expression: str, start: str, times: list[str]) -> None:
    assert _times(expression, start, len(times)) == times


def test_a_date_that_never_comes_has_no_next_time() -> None:
    assert ncrontab.parse("0 0 0 30 2 *").next_after(dt.datetime(2024, 1, 1, tzinfo=dt.UTC)) is None


def test_the_next_time_is_in_the_zone_that_was_asked_in() -> None:
    found = ncrontab.parse("0 0 0 * * *").next_after(dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
    assert found == dt.datetime(2024, 1, 2, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("", "six fields"),
        ("* * * *", "six fields"),
        ("* * * * * * *", "six fields"),
        ("60 * * * * *", "60 is no second: use 0 to 59"),
        ("0 61 * * * *", "61 is no minute"),
        ("0 0 24 * * *", "24 is no hour"),
        ("0 0 0 0 * *", "0 is no day of the month"),
        ("0 0 0 * 13 *", "13 is no month"),
        ("0 0 0 * * 8", "8 is no day of the week"),
        ("0 0 0 * foo *", "'foo' is no month"),
        ("0 0 0 * ja *", "'ja' is no month"),
        ("MON * * * * *", "'MON' is no second"),
        ("*/0 * * * * *", "is no second"),
        ("1- * * * * *", "is no second"),
        ("*-5 * * * * *", "is no second"),
        ("1,,2 * * * * *", "is no second"),
        ("-1 * * * * *", "is no second"),
    ],
)
def test_a_bad_expression_is_refused_with_the_field_named(expression: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ncrontab.parse(expression)
