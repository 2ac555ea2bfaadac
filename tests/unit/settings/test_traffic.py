"""TRAFFIC, which makes a service spread its requests over others."""

import pytest

from shared.errors import Misconfigured
from shared.settings import load

SPLIT = {
    "KEY_VAULT_URL": "https://my-vault.vault.azure.net",
    "SERVICES": "cats, blue, green",
    "SERVICE__BLUE__ADDRESS": "blue.example.com",
    "SERVICE__GREEN__ADDRESS": "green.example.com",
    "SERVICE__CATS__TRAFFIC": "blue:90, green:10",
}


def test_a_split_is_no_service_with_an_address() -> None:
    settings = load(SPLIT)

    assert settings.splits["cats"].weights == (("blue", 90), ("green", 10))
    assert list(settings.services) == ["blue", "green"]
    assert settings.default_service == "cats"


def test_a_weight_may_be_0_beside_another() -> None:
    assert load({**SPLIT, "SERVICE__CATS__TRAFFIC": "blue:1,green:0"}).splits["cats"].weights[1] == ("green", 0)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"SERVICE__BLUE__OUTPUT": "raw"}, "SERVICE__CATS__TRAFFIC names services with different OUTPUT: classes, raw"),
        ({"SERVICE__CATS__TRAFFIC": "blue"}, "SERVICE__CATS__TRAFFIC has 'blue'; a service and its weight"),
        ({"SERVICE__CATS__TRAFFIC": "blue:90%"}, "has 'blue:90%'; a service and its weight from 0 to 1000"),
        ({"SERVICE__CATS__TRAFFIC": "blue:-1"}, "has 'blue:-1'; a service and its weight"),
        ({"SERVICE__CATS__TRAFFIC": "blue:0.5"}, "has 'blue:0.5'; a service and its weight"),
        ({"SERVICE__CATS__TRAFFIC": "blue:1001"}, "has 'blue:1001'; a service and its weight"),
        ({"SERVICE__CATS__TRAFFIC": ":90"}, "has ':90'; a service and its weight"),
        ({"SERVICE__CATS__TRAFFIC": ","}, "SERVICE__CATS__TRAFFIC names no service"),
        ({"SERVICE__CATS__TRAFFIC": "blue:9,blue:1"}, "SERVICE__CATS__TRAFFIC names 'blue' twice"),
        ({"SERVICE__CATS__TRAFFIC": "blue:0,green:0"}, "SERVICE__CATS__TRAFFIC has no weight above 0"),
        ({"SERVICE__CATS__TRAFFIC": "blue:9,red:1"}, "names 'red', which SERVICES does not list"),
        ({"SERVICE__CATS__TRAFFIC": "cats:1"}, "SERVICE__CATS__TRAFFIC names the service 'cats' itself"),
        ({"SERVICE__BLUE__TRAFFIC": "cats:1"}, "SERVICE__BLUE__TRAFFIC names 'cats', which has TRAFFIC too"),
        ({"SERVICE__CATS__ADDRESS": "a"}, "SERVICE__CATS__ADDRESS is set for a service with TRAFFIC"),
        ({"SERVICE__CATS__LABELS": "imagenet"}, "SERVICE__CATS__LABELS is set for a service with TRAFFIC"),
        ({"SERVICE__CATS__IMAGE_SIZE": "99"}, "SERVICE__CATS__IMAGE_SIZE is set for a service with TRAFFIC"),
        ({"SERVICE__CATS__CONTROL_PLANE_NAME": "c"}, "SERVICE__CATS__CONTROL_PLANE_NAME is set for a service with"),
        ({"SERVICE__CATS__TRAFIC": "a"}, "SERVICE__CATS__TRAFIC is not known"),
    ],
)
def test_a_wrong_split_is_an_error_that_names_the_setting(changes: dict[str, str], fault: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        load({**SPLIT, **changes})

    assert fault in caught.value.detail
