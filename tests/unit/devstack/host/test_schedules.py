"""NCRONTAB expressions, intervals and time zones: when a timer runs next."""

import datetime as dt
import zoneinfo

import pytest

from devstack.host.schedules import parse_schedule, time_zone

# A machine may lack the database of time zones.
needs_zones = pytest.mark.skipif(
    "Europe/Berlin" not in zoneinfo.available_timezones(), reason="no time zone database (install tzdata)"
)


def _utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("expression", "start", "following"),
    [
        # 2024 is a leap year, and its first of January is a Monday.
        ("*/5 * * * * *", "2024-01-01 00:00:56", "2024-01-01 00:01:00"),
        ("0 30 9 * * *", "2024-01-01 09:29:59.999", "2024-01-01 09:30:00"),
        ("0 0 9-17/4 * * *", "2024-01-01 09:00:00", "2024-01-01 13:00:00"),
        ("0 5/20 * * * *", "2024-01-01 00:05:00", "2024-01-01 00:25:00"),
        ("0 0 0 * * 5-7", "2024-01-06 00:00:00", "2024-01-07 00:00:00"),
        ("0 0 0 * JAN,july *", "2024-01-31 00:00:00", "2024-07-01 00:00:00"),
        ("0 0 17-9/4 * * *", "2024-01-01 10:00:00", "2024-01-01 13:00:00"),
        ("0 * * * *", "2024-01-01 10:00:30", "2024-01-01 11:00:00"),
        ("0 0 0 * * 5-0", "2024-01-06 12:00:00", "2024-01-07 00:00:00"),
        ("0 0 0 31 * *", "2024-01-31 00:00:00", "2024-03-31 00:00:00"),
        # Both day fields must match, unlike in Unix cron.
        ("0 0 0 13 * FRI", "2024-01-01 00:00:00", "2024-09-13 00:00:00"),
        ("0 0 0 29 2 MON", "2024-03-01 00:00:00", "2044-02-29 00:00:00"),
        ("00:00:05", "2024-01-01 00:00:00.5", "2024-01-01 00:00:05.5"),
        ("1.02:00:00", "2024-01-01 00:00:00", "2024-01-02 02:00:00"),
    ],
)
def test_the_next_time_of_a_schedule(expression: str, start: str, following: str) -> None:
    assert parse_schedule(expression).next_after(_utc(start)) == _utc(following)


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("* * * *", "six fields"),
        ("60 * * * * *", "out of range"),
        ("0 0 0 * * 8", "out of range"),
        ("*/0 * * * * *", "out of range"),
        ("0 0 0 L * *", "'L' is not a field"),
        ("0 0 0 * * FRI#2", "'FRI#2' is not a field"),
        ("0 0 0 * * 1-2-3", "'1-2-3' is not a field"),
        ("0 0 0 30 2 *", "no date matches"),
        ("00:00:00", "more than zero"),
    ],
)
def test_an_invalid_schedule_is_refused(expression: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        parse_schedule(expression)


@needs_zones
@pytest.mark.parametrize(
    ("moment", "following"),
    [
        # 2024-03-31 02:30 does not exist there; 2024-10-27 02:30 comes twice, at 00:30 and 01:30 UTC.
        ("2024-03-29 12:00:00", "2024-03-30 01:30:00"),
        ("2024-03-30 12:00:00", "2024-03-31 01:30:00"),
        ("2024-10-26 12:00:00", "2024-10-27 00:30:00"),
        ("2024-10-27 00:30:00", "2024-10-28 01:30:00"),
    ],
)
def test_a_zone_with_summer_time(moment: str, following: str) -> None:
    schedule = parse_schedule("0 30 2 * * *", time_zone("Europe/Berlin"))
    assert schedule.next_after(_utc(moment)) == _utc(following)


def test_the_default_zone_is_utc_and_an_unknown_one_is_refused() -> None:
    assert time_zone(None) is time_zone("") is dt.UTC
    with pytest.raises(ValueError, match="Nowhere/At_All"):
        time_zone("Nowhere/At_All")
