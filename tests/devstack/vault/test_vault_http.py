"""The REST API as plain HTTP: shapes, error bodies, challenges, pages."""

import time
from typing import Any

import httpx
import pytest

from devstack import tokens
from tests.devstack.processes import Running
from tests.devstack.vault.conftest import Files

RECOVERY_HINT = (
    "If you recently deleted this secret you may be able to recover it using the correct recovery command. "
    "For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
)


def error(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json()["error"]


# Shapes.


def test_a_secret_is_answered_in_full_when_it_is_set_and_when_it_is_read(http: httpx.Client, vault: Running) -> None:
    before = int(time.time())
    answer = http.put(
        "/secrets/shape",
        json={
            "value": "v",
            "contentType": "text/plain",
            "tags": {"a": "1"},
            "attributes": {"enabled": True, "nbf": 1, "exp": 4_102_444_800},
        },
    )

    bundle = answer.json()
    identifier = bundle.pop("id")
    created, updated = bundle["attributes"].pop("created"), bundle["attributes"].pop("updated")
    address, version = identifier.rsplit("/", 1)
    assert address == f"{vault.address}/secrets/shape"
    assert len(version) == 32
    assert before <= created == updated <= time.time()
    assert bundle == {
        "value": "v",
        "contentType": "text/plain",
        "tags": {"a": "1"},
        "attributes": {
            "enabled": True,
            "nbf": 1,
            "exp": 4_102_444_800,
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": 90,
        },
    }
    for path in ("/secrets/shape", "/secrets/shape/", f"/secrets/shape/{version}"):
        assert http.get(path).json() == answer.json()


def test_what_was_never_given_is_left_out(http: httpx.Client) -> None:
    bundle = http.put("/secrets/bare", json={"value": ""}).json()

    assert bundle.keys() == {"value", "id", "attributes"}
    assert bundle["attributes"].keys() == {"enabled", "created", "updated", "recoveryLevel", "recoverableDays"}


def test_lists_show_neither_values_nor_in_the_list_of_secrets_versions(http: httpx.Client, vault: Running) -> None:
    http.put("/secrets/listed", json={"value": "v", "attributes": {"enabled": False}})

    secrets = {item["id"]: item for page in walk(http, "/secrets") for item in page}
    (version,) = http.get("/secrets/listed/versions").json()["value"]

    item = secrets[f"{vault.address}/secrets/listed"]
    assert item["attributes"]["enabled"] is False
    assert version["id"].startswith(f"{vault.address}/secrets/listed/")
    assert not {"value"} & (item.keys() | version.keys())


def test_a_deleted_secret_says_when_it_goes_for_good(http: httpx.Client, vault: Running) -> None:
    identifier = http.put("/secrets/dying", json={"value": "v"}).json()["id"]

    deleted = http.delete("/secrets/dying").json()

    assert deleted["id"] == identifier
    assert deleted["recoveryId"] == f"{vault.address}/deletedsecrets/dying"
    assert deleted["scheduledPurgeDate"] - deleted["deletedDate"] == 90 * 24 * 60 * 60
    assert "value" not in deleted
    assert http.get("/deletedsecrets/dying").json() == deleted
    (listed,) = http.get("/deletedsecrets").json()["value"]
    assert listed == {**deleted, "id": f"{vault.address}/secrets/dying"}
    purged = http.delete("/deletedsecrets/dying")
    assert (purged.status_code, purged.content) == (204, b"")


def test_an_update_answers_without_the_value(http: httpx.Client) -> None:
    http.put("/secrets/updated", json={"value": "v"})

    answer = http.patch("/secrets/updated", json={"attributes": {"enabled": False}}).json()

    assert answer["attributes"]["enabled"] is False
    assert "value" not in answer


def test_answers_carry_the_headers_of_the_service(http: httpx.Client) -> None:
    answer = http.get("/secrets", headers={"x-ms-client-request-id": "abc-123"})

    assert answer.headers["x-ms-client-request-id"] == "abc-123"
    assert len(answer.headers["x-ms-request-id"]) == 36
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Content-Type"] == "application/json"


# Pages.


def walk(http: httpx.Client, path: str, **query: str) -> list[list[dict[str, Any]]]:
    """The items on every page, the next links followed as they come."""
    answer = http.get(path, params=query).raise_for_status().json()
    found = [answer["value"]]
    while answer["nextLink"] is not None:
        link = httpx.URL(answer["nextLink"])
        assert link.copy_with(query=None) == http.base_url.join(path)
        answer = http.get(path, params=link.params).raise_for_status().json()
        found.append(answer["value"])
    return found


def last_parts(pages: list[list[dict[str, Any]]]) -> list[list[str]]:
    """The last parts of the identifiers on the pages."""
    return [[item["id"].rsplit("/", 1)[1] for item in page] for page in pages]


def test_secrets_are_listed_in_pages(http: httpx.Client) -> None:
    names = [f"many-{number:02}" for number in range(26)]
    for name in names:
        http.put(f"/secrets/{name}", json={"value": "v"}).raise_for_status()

    pages = last_parts(walk(http, "/secrets", maxresults="7"))

    assert {len(page) for page in pages[:-1]} == {7}
    assert [name for page in pages for name in page if name.startswith("many-")] == names
    assert len(walk(http, "/secrets")[0]) == 25


def test_versions_and_deleted_secrets_are_listed_in_pages(http: httpx.Client) -> None:
    versions = {http.put("/secrets/old", json={"value": "v"}).json()["id"].rsplit("/", 1)[1] for _ in range(3)}
    for name in ("gone-1", "gone-2", "gone-3"):
        http.put(f"/secrets/{name}", json={"value": "v"})
        http.delete(f"/secrets/{name}")

    pages = walk(http, "/secrets/old/versions", maxresults="2")
    assert last_parts(pages) == [sorted(versions)[:2], sorted(versions)[2:]]
    assert last_parts(walk(http, "/deletedsecrets", maxresults="2")) == [["gone-1", "gone-2"], ["gone-3"]]
    for name in ("gone-1", "gone-2", "gone-3"):
        http.delete(f"/deletedsecrets/{name}").raise_for_status()


def test_an_unknown_secret_has_no_versions(http: httpx.Client) -> None:
    assert http.get("/secrets/unknown/versions").json() == {"value": [], "nextLink": None}


# Errors.


def test_an_unknown_secret_is_not_found(http: httpx.Client) -> None:
    assert error(http.get("/secrets/unknown/")) == (
        404,
        {
            "code": "SecretNotFound",
            "message": f"A secret with (name/id) unknown was not found in this key vault. {RECOVERY_HINT}",
        },
    )
    assert error(http.get("/deletedsecrets/unknown")) == (
        404,
        {"code": "SecretNotFound", "message": "Deleted Secret not found: unknown"},
    )


def test_a_disabled_secret_is_forbidden(http: httpx.Client) -> None:
    http.put("/secrets/disabled", json={"value": "v", "attributes": {"enabled": False}})

    assert error(http.get("/secrets/disabled/")) == (
        403,
        {
            "code": "Forbidden",
            "message": "Operation get is not allowed on a disabled secret.",
            "innererror": {"code": "SecretDisabled"},
        },
    )


def test_the_name_of_a_deleted_secret_is_a_conflict(http: httpx.Client) -> None:
    http.put("/secrets/reused", json={"value": "v"})
    http.delete("/secrets/reused")

    assert error(http.put("/secrets/reused", json={"value": "v"})) == (
        409,
        {
            "code": "Conflict",
            "message": "Secret reused is currently in a deleted but recoverable state, and its name cannot be "
            "reused; in this state, the secret can only be recovered or purged.",
            "innererror": {"code": "ObjectIsDeletedButRecoverable"},
        },
    )
    http.delete("/deletedsecrets/reused").raise_for_status()


def test_a_bad_name_is_refused_before_anything_is_looked_up(http: httpx.Client) -> None:
    for path in ("/secrets/a_b", "/secrets/a%20b/", "/deletedsecrets/a_b", "/secrets/a_b/versions"):
        status, body = error(http.get(path))
        assert (status, body["code"]) == (400, "BadParameter")
        assert body["message"].startswith("The request URI contains an invalid name: a")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The request body is not valid JSON."),
        (b"{}", "Property value has invalid value"),
        (b'{"value": 1}', "Property value has invalid value"),
        (b'{"value": "v", "tags": []}', "Property tags has invalid value"),
        (b'{"value": "' + b"x" * 25_601 + b'"}', "Secret is beyond the maximum permitted length of 25600 characters."),
        (b" " * (16 * 1024 * 1024 + 1), "The request body is larger than 16777216 bytes."),
    ],
)
def test_a_bad_body_is_refused(http: httpx.Client, body: bytes, message: str) -> None:
    assert error(http.put("/secrets/bad-body", content=body)) == (400, {"code": "BadParameter", "message": message})
    assert http.get("/secrets/bad-body").status_code == 404


def test_a_missing_or_unknown_api_version_is_refused(http: httpx.Client) -> None:
    assert error(http.get("/secrets", params={"api-version": ""})) == (
        400,
        {"code": "BadParameter", "message": "api-version must be specified"},
    )
    assert error(http.get("/secrets", params={"api-version": "6.0"})) == (
        400,
        {
            "code": "BadParameter",
            "message": "The specified version (6.0) is not recognized. "
            "Consider using the latest supported version (2026-04-01).",
        },
    )


@pytest.mark.parametrize("value", ["%%%", "bm9uc2Vuc2U", 1])
def test_a_backup_that_is_none_is_refused(http: httpx.Client, value: object) -> None:
    assert error(http.post("/secrets/restore", json={"value": value}))[0] == 400


def test_a_path_or_method_that_the_api_lacks_is_refused_in_its_own_form(http: httpx.Client) -> None:
    assert error(http.get("/keys"))[0] == 404
    assert error(http.get("/deletedsecrets/key/"))[0] == 404, "a redirect"
    assert error(http.post("/secrets/key"))[0] == 405
    assert error(http.post("/secrets/key"))[1]["code"] == "MethodNotAllowed"


# Who may ask.


def token(files: Files, *, resource: str = "https://vault.azure.net", now: float = 0, **claims: Any) -> str:
    key = claims.pop("key", files.signing_key.read_bytes())
    return tokens.issue(key, resource=resource, now=now or time.time(), **claims).value


def test_a_request_without_a_token_is_challenged(http: httpx.Client) -> None:
    for header in ("", "Basic abc", "Bearer", "Bearer a b"):
        answer = http.get("/secrets", headers={"Authorization": header})

        assert error(answer) == (
            401,
            {"code": "Unauthorized", "message": "AKV10000: Request is missing a Bearer or PoP token."},
        )
        assert answer.headers["WWW-Authenticate"] == (
            f'Bearer authorization="https://login.microsoftonline.com/{tokens.TENANT}", '
            'resource="https://vault.azure.net"'
        )


def test_a_token_that_does_not_hold_is_refused_and_challenged(http: httpx.Client, files: Files) -> None:
    refused = {
        token(files, key=bytes(32)): "AKV10046: Unable to resolve the key used for signature validation.",
        token(files, now=time.time() - 2 * tokens.DAY): "IDX10223: Lifetime validation failed. The token is expired.",
        token(files, now=time.time() + 3600): "IDX10222: Lifetime validation failed. The token is not yet valid.",
        token(files, resource="https://management.azure.com"): "AKV10022: Invalid audience. "
        "Expected https://vault.azure.net, found: https://management.azure.com.",
        token(files, tenant="other"): "AKV10032: Invalid issuer. "
        f"Expected one of https://sts.windows.net/{tokens.TENANT}/, found https://sts.windows.net/other/.",
        "nonsense": "IDX12741: the token is not a well-formed JWT.",
    }
    for bearer, message in refused.items():
        answer = http.get("/secrets", headers={"Authorization": f"Bearer {bearer}"})

        assert answer.status_code == 401
        assert answer.json()["error"]["message"].endswith(message)
        assert bearer not in answer.text
        assert answer.headers["WWW-Authenticate"].startswith("Bearer authorization=")


def test_who_may_not_ask_learns_nothing_else(http: httpx.Client) -> None:
    for path in ("/secrets/unknown", "/secrets/a_b", "/secrets?api-version=6.0"):
        assert http.get(path, headers={"Authorization": ""}).status_code == 401
