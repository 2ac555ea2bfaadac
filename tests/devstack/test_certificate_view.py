"""What ``certificate show`` says of what it found: a table of named cases, on frozen time."""

import datetime as dt
from itertools import pairwise

import pytest
from cryptography import x509

from devstack.authority import Authority, Issued
from devstack.certificate.making import Kind, make
from devstack.certificate.view import Secret, View, changes, fingerprint, left, line, table, verdict, view
from shared.trust import judge
from shared.trust.judge import Demands

NOW = dt.datetime(2030, 5, 4, 12, 0, tzinfo=dt.UTC)
DEMANDS = Demands(["127.0.0.1"], 7)
AUTHORITY = Authority.create()


def issue(days: float = 90) -> Issued:
    return AUTHORITY.issue(not_before=NOW - dt.timedelta(days=10), valid_for=dt.timedelta(days=days + 10))


def leaf(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.certificate)


def wanted(issued: Issued | None) -> Secret:
    return Secret("imagenet-certificate", (issued.key + issued.chain).decode() if issued else None)


def pins(*pinned: bytes) -> Secret:
    return Secret("imagenet-pins", b"".join(pinned).decode() or None)


def seen(certificate: Secret, pinned: Secret, served: Issued | None) -> View:
    return view(certificate, pinned, leaf(served) if served else None, DEMANDS, NOW)


OLD, NEW = issue(50), issue(90)
NEAR, EXPIRED = issue(1), issue(-1)
OLD_PIN, NEW_PIN = OLD.certificate, NEW.certificate
UNREADABLE = Secret("imagenet-certificate", NEW.chain.decode())
TOO_SOON = f"it expires on {NOW + dt.timedelta(days=1):%Y-%m-%d %H:%M} UTC, within 7 days"

AGREE = "Key Vault, the service and the gateways' pins agree."
UNTRUSTED = "What is served is not pinned: no new connection of a gateway succeeds."
GONE = "The service presents no certificate: nothing listens there, or without TLS."
NO_PIN = "Secret 'imagenet-pins' holds no PEM certificate."


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (seen(wanted(NEW), pins(NEW_PIN), NEW), [AGREE]),
        (seen(wanted(NEW), pins(AUTHORITY.pem, NEW_PIN), NEW), [AGREE]),
        (
            seen(wanted(NEW), pins(OLD_PIN, NEW_PIN), NEW),
            ["What Key Vault asks for is served; another pin is to be dropped after the grace time."],
        ),
        (
            seen(wanted(NEW), pins(OLD_PIN), OLD),
            ["Key Vault's latest is not served yet: the rotation pins it first."],
        ),
        (
            seen(wanted(NEW), pins(OLD_PIN, NEW_PIN), OLD),
            ["Key Vault's latest is not served yet: it is pinned already."],
        ),
        (seen(wanted(NEAR), pins(OLD_PIN), OLD), [f"The rotation refuses Key Vault's latest: {TOO_SOON}."]),
        (seen(wanted(NEAR), pins(NEAR.certificate), NEAR), [f"The rotation warns: {TOO_SOON}."]),
        (seen(wanted(NEW), pins(OLD_PIN), NEW), [UNTRUSTED]),
        (seen(wanted(NEW), pins(), NEW), [NO_PIN, UNTRUSTED]),
        (seen(wanted(NEW), pins(NEW_PIN), None), [GONE]),
        (
            seen(wanted(None), pins(NEW_PIN), NEW),
            ["Key Vault holds no enabled version of the secret 'imagenet-certificate'."],
        ),
        (
            seen(UNREADABLE, pins(NEW_PIN), NEW),
            ["The secret 'imagenet-certificate' cannot be used: it holds no private key."],
        ),
    ],
)
def test_a_verdict_names_what_does_not_agree(found: View, said: list[str]) -> None:
    assert verdict(found, NOW) == said


def test_what_has_expired_is_told_with_the_remedy() -> None:
    said = verdict(seen(wanted(EXPIRED), pins(OLD_PIN, EXPIRED.certificate), EXPIRED), NOW)

    assert said == [
        f"Pin {fingerprint(leaf(EXPIRED))} in 'imagenet-pins' expired on {NOW - dt.timedelta(days=1):%Y-%m-%d}.",
        "What is served has expired: no new connection succeeds until Key Vault gets another (`certificate new`).",
        f"The rotation warns: it expired on {NOW - dt.timedelta(days=1):%Y-%m-%d %H:%M} UTC.",
    ]


def test_a_pinned_authority_trusts_what_it_issued() -> None:
    other = Authority.create("Another CA")

    assert seen(wanted(NEW), pins(AUTHORITY.pem), OLD).served_is_trusted
    assert not seen(wanted(NEW), pins(other.pem), OLD).served_is_trusted


def test_the_table_has_a_row_for_each_certificate_by_where_it_is() -> None:
    rows = table(seen(wanted(NEW), pins(OLD_PIN, NEW_PIN), OLD), NOW)

    old, new = fingerprint(leaf(OLD)), fingerprint(leaf(NEW))
    names = "localhost, 127.0.0.1, ::1"
    assert rows == [
        "                   fingerprint       valid until                            for",
        f"Key Vault, latest  {new}  2030-08-02 12:00:00 UTC, 90 days left  {names}",
        f"served             {old}  2030-06-23 12:00:00 UTC, 50 days left  {names}",
        f"pinned             {old}  2030-06-23 12:00:00 UTC, 50 days left  {names}",
        f"pinned             {new}  2030-08-02 12:00:00 UTC, 90 days left  {names}",
    ]


def test_the_table_shows_what_is_not_there() -> None:
    assert table(seen(wanted(None), pins(), None), NOW)[1:] == [
        "Key Vault, latest  -            -            -",
        "served             -            -            -",
        "pinned             -            -            -",
    ]


def test_a_rotation_is_told_change_by_change() -> None:
    """As the rotation does it, step by step."""
    course = [
        seen(wanted(OLD), pins(OLD_PIN), OLD),
        seen(wanted(NEW), pins(OLD_PIN), OLD),
        seen(wanted(NEW), pins(OLD_PIN, NEW_PIN), OLD),
        seen(wanted(NEW), pins(OLD_PIN, NEW_PIN), NEW),
        seen(wanted(NEW), pins(NEW_PIN), NEW),
        seen(wanted(NEW), pins(NEW_PIN), NEW),
    ]
    old, new = fingerprint(leaf(OLD))[:8], fingerprint(leaf(NEW))[:8]

    told = [changes(before, after) for before, after in pairwise(course)]

    assert told == [
        ["Key Vault has another version"],
        [f"{new} is pinned"],
        [f"{new} is served"],
        [f"{old} is no longer pinned"],
        [],
    ]
    assert line(course[2]) == f"Key Vault {new}  served {old}  pinned {old} {new}"


def test_changes_tell_a_refusal_and_what_has_gone() -> None:
    before = seen(wanted(OLD), pins(OLD_PIN), OLD)

    assert changes(before, seen(wanted(NEAR), pins(OLD_PIN), None)) == [
        f"Key Vault has another version, which the rotation refuses: {TOO_SOON}",
        "nothing is served",
    ]
    assert changes(before, seen(wanted(None), pins(OLD_PIN), OLD)) == ["Key Vault has no certificate"]
    assert line(seen(wanted(None), pins(), None)) == "Key Vault -  served -  pinned -"


@pytest.mark.parametrize(
    ("time", "told"),
    [
        (dt.timedelta(days=90), "90 days left"),
        (dt.timedelta(days=2), "2 days left"),
        (dt.timedelta(hours=47), "47 h left"),
        (dt.timedelta(minutes=119), "119 min left"),
        (dt.timedelta(seconds=119), "119 s left"),
        (dt.timedelta(0), "expired"),
        (dt.timedelta(days=-3), "expired"),
    ],
)
def test_time_is_told_roughly(time: dt.timedelta, told: str) -> None:
    assert left(NOW + time, NOW) == told


# The certificates that the command makes.


@pytest.mark.parametrize(
    ("kind", "refusal"),
    [
        (Kind.SOUND, ""),
        (Kind.WRONG_KEY, "the private key is not the certificate's"),
        (Kind.WRONG_NAME, "it is not for 127.0.0.1, but for elsewhere.example"),
        (Kind.SELF_SIGNED, "it is self-signed"),
    ],
)
def test_each_kind_of_certificate_has_just_the_fault_of_its_name(kind: Kind, refusal: str) -> None:
    issued = make(AUTHORITY, dt.timedelta(days=30), kind)

    assert judge.judge(judge.read(issued.key + issued.chain), DEMANDS, dt.datetime.now(dt.UTC)) == refusal


def test_a_self_signed_certificate_may_pass_where_that_is_allowed() -> None:
    issued = make(AUTHORITY, dt.timedelta(days=30), Kind.SELF_SIGNED)
    allowing = Demands(["127.0.0.1"], 7, allow_self_signed=True)

    assert judge.judge(judge.read(issued.key + issued.chain), allowing, dt.datetime.now(dt.UTC)) == ""
