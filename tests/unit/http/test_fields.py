"""Header fields are looked up in the package's own dict; its mapping would do as well."""

from types import SimpleNamespace
from typing import Any

import azure.functions as func

from functions.http.fields import fields


def test_the_fields_are_the_packages_dict_by_names_in_lower_case() -> None:
    """Where this fails after an update of azure-functions: look for what its headers hold now."""
    request = func.HttpRequest("POST", "/", headers={"Content-Type": "image/jpeg"}, body=b"")

    assert type(fields(request)) is dict
    assert fields(request) == {"content-type": "image/jpeg"}


def test_a_mapping_without_a_dict_is_used_as_it_is() -> None:
    request: Any = SimpleNamespace(headers={"content-type": "image/png"})

    assert fields(request)["content-type"] == "image/png"
