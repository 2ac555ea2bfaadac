import datetime as dt
import zoneinfo

import pytest

from devstack.host.schedules import parse_schedule, time_zone

# A machine may come without the database of time zones.
needs_zones = pytest.mark.skipif(
    "Europe/Berlin" not in zoneinfo.available_timezones(), reason="no time zone database (install tzdata)"
)


def _utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def test_a_cron_expression_counts_in_utc() -> None:
    assert parse_schedule("0 0 3 * * *").next_after(_utc("2024-07-01 03:00:00")) == _utc("2024-07-02 03:00:00")


@needs_zones
def test_a_zone_moves_the_clock_with_the_summer_time() -> None:
    schedule = parse_schedule("0 0 3 * * *", time_zone("Europe/Berlin"))
    assert schedule.next_after(_utc("2024-01-01 12:00:00")) == _utc("2024-01-02 02:00:00")
    assert schedule.next_after(_utc("2024-07-01 12:00:00")) == _utc("2024-07-02 01:00:00")


@needs_zones
def test_an_hour_that_is_skipped_is_made_up_for_and_one_that_is_repeated_counts_once() -> None:
    schedule = parse_schedule("0 30 2 * * *", time_zone("Europe/Berlin"))
    # 2024-03-31 02:30 does not exist there; 2024-10-27 02:30 comes twice, at 00:30 and 01:30 UTC.
    assert schedule.next_after(_utc("2024-03-30 12:00:00")) == _utc("2024-03-31 01:30:00")
    assert schedule.next_after(_utc("2024-10-26 12:00:00")) == _utc("2024-10-27 00:30:00")
    assert schedule.next_after(_utc("2024-10-27 00:30:00")) == _utc("2024-10-28 01:30:00")


@needs_zones
def test_every_minute_keeps_running_through_the_change_of_the_clock() -> None:
    schedule, moment = parse_schedule("0 * * * * *", time_zone("Europe/Berlin")), _utc("2024-03-31 00:59:00")
    assert schedule.next_after(moment) == _utc("2024-03-31 01:00:00")


@pytest.mark.parametrize(("text", "seconds"), [("00:00:05", 5), ("01:00", 3600), ("1.00:00:00", 86400)])
def test_a_time_span_is_an_interval(text: str, seconds: int) -> None:
    now = _utc("2024-01-01 00:00:00.5")
    assert parse_schedule(text).next_after(now) == now + dt.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0 0 0 30 2 *", "no date fits"),
        ("00:00:00", "more than zero"),
        ("25:00:00", "hours go to 23"),
        ("1:2:3:4:5", "no time span"),
        ("sometimes", "six fields"),
    ],
)
def test_a_schedule_without_a_time_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_schedule(text)


def test_without_a_zone_it_is_utc_and_an_unknown_one_is_refused() -> None:
    assert time_zone(None) is time_zone("") is dt.UTC
    with pytest.raises(ValueError, match="Nowhere/At_All"):
        time_zone("Nowhere/At_All")
