"""The app settings: defaults, values and errors."""

import dataclasses

import pytest

from shared.errors import Misconfigured
from shared.settings import (
    Activation,
    Auth,
    ChannelOrder,
    Datatype,
    Fit,
    IdentityKind,
    InputForm,
    Layout,
    Metadata,
    OutputForm,
    OutputKind,
    Protocol,
    Tls,
    Trust,
    load,
)
from tests.conftest import ROOT

VAULT = {"KEY_VAULT_URL": "https://my-vault.vault.azure.net"}
MINIMAL = {**VAULT, "SERVICES": "cats", "SERVICE__CATS__ADDRESS": "cats.example.com"}

ROTATED = {
    "SERVICE__CATS__CONTROL_PLANE_NAME": "cats-on-fpga",
    "CONTROL_PLANE_SUBSCRIPTION": "0",
    "CONTROL_PLANE_GROUP": "animals",
    "CONTROL_PLANE_ACCOUNT": "models",
}
SECOND = {"SERVICES": "cats, dogs", "SERVICE__DOGS__ADDRESS": "dogs.example.com"}
SECOND_ROTATED = {
    **SECOND,
    "SERVICE__DOGS__CONTROL_PLANE_NAME": "dogs-on-fpga",
    "SERVICE__DOGS__PINS_SECRET": "cats-pins",
}

PURPOSES = ("PRIMARY_KEY", "SECONDARY_KEY", "PINS", "CERTIFICATE")


def faults(**changes: str) -> str:
    """The error's detail for changed MINIMAL settings; an empty value is a missing setting."""
    with pytest.raises(Misconfigured) as caught:
        load({**MINIMAL, **changes})
    return caught.value.detail


def test_a_service_only_requires_its_address() -> None:
    settings = load(MINIMAL)

    service = settings.services["cats"]
    assert settings.default_service == "cats"
    assert (service.address, service.port, service.tls) == ("cats.example.com", 443, Tls.REQUIRED)
    assert service.primary_key_secret == "cats-primary-key"
    assert service.secondary_key_secret == "cats-secondary-key"
    assert service.pins_secret == "cats-pins"
    assert (service.input_name, service.input_form) == ("images", InputForm.ENCODED)
    assert (service.output_name, service.output_form) == ("output_alias", OutputForm.PROBABILITIES)
    assert service.deadline_seconds == 10
    assert settings.vault is not None
    assert settings.vault.identity is IdentityKind.MANAGED


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("https://cats.example.com", "without a scheme or a path"),
        ("cats.example.com/v1", "without a scheme or a path"),
        ("cats.example.com:8443", "the port belongs into PORT"),
        ("10.0.0.4:8443", "the port belongs into PORT"),
        ("[::1]", "an IPv6 address has no brackets"),
        ("[::1]:443", "the port belongs into PORT"),
        ("cats.example.com, dogs.example.com", "must all be IPv4 addresses"),
        ("10.0.0.4, ::1", "must all be IPv4 addresses"),
        ("10.0.0.4,", "a host name or an IP address is needed"),
        ("10.0.0.400", "a host name or an IP address is needed"),
        ("cats example", "a host name or an IP address is needed"),
        ("a" * 200 + "!", "a host name or an IP address is needed"),
    ],
)
def test_an_address_that_is_more_than_an_address_is_an_error(address: str, fault: str) -> None:
    detail = faults(SERVICE__CATS__ADDRESS=address)

    assert detail.startswith(f"SERVICE__CATS__ADDRESS is {address[:100]!r}; ")
    assert fault in detail


@pytest.mark.parametrize(
    "address",
    ["cats", "cats.example.com.", "cats_v1.internal", "10.0.0.4", "::1", "10.0.0.4, 10.0.0.5", "xn--ktzchen-5wa.de"],
)
def test_an_address_is_a_name_or_ip_addresses(address: str) -> None:
    assert load({**MINIMAL, "SERVICE__CATS__ADDRESS": address}).services["cats"].address == address


def test_every_setting_of_a_service_is_used() -> None:
    service = load(
        {
            **VAULT,
            "SERVICES": "big-cats",
            "SERVICE__BIG_CATS__ADDRESS": "10.0.0.4",
            "SERVICE__BIG_CATS__PORT": "8443",
            "SERVICE__BIG_CATS__TLS_NAME": "cats.example.com",
            "SERVICE__BIG_CATS__PRIMARY_KEY_SECRET": "one",
            "SERVICE__BIG_CATS__SECONDARY_KEY_SECRET": "two",
            "SERVICE__BIG_CATS__PINS_SECRET": "three",
            "SERVICE__BIG_CATS__MODEL": "resnet",
            "SERVICE__BIG_CATS__SIGNATURE": "serving_default",
            "SERVICE__BIG_CATS__INPUT_NAME": "x",
            "SERVICE__BIG_CATS__INPUT_FORM": "tensor",
            "SERVICE__BIG_CATS__TRUST": "both",
            "SERVICE__BIG_CATS__TRUST_FILE": "host.json",
            "SERVICE__BIG_CATS__CLIENT_CERTIFICATE_SECRET": "own",
            "SERVICE__BIG_CATS__AUTH": "entra",
            "SERVICE__BIG_CATS__AUTH_SCOPE": "api://cats/.default",
            "SERVICE__BIG_CATS__AUTH_METADATA": "x-key",
            "SERVICE__BIG_CATS__METADATA": "a=1",
            "SERVICE__BIG_CATS__AUTHORITY": "cats.example.net",
            "SERVICE__BIG_CATS__INPUT_TYPE": "UINT8",
            "SERVICE__BIG_CATS__INPUT_LAYOUT": "NCHW",
            "SERVICE__BIG_CATS__MODEL_VERSION": "7",
            "SERVICE__BIG_CATS__MAX_BATCH": "8",
            "SERVICE__BIG_CATS__PROTOCOL": "tensorflow",
            "SERVICE__BIG_CATS__FORWARD_METADATA": "keep",
            "SERVICE__BIG_CATS__IMAGE_SIZE": "299",
            "SERVICE__BIG_CATS__IMAGE_RESIZE": "320",
            "SERVICE__BIG_CATS__CHANNEL_MEAN": "103.9, 116.8, 123.7",
            "SERVICE__BIG_CATS__CHANNEL_SCALE": "1,1,1",
            "SERVICE__BIG_CATS__CHANNEL_ORDER": "BGR",
            "SERVICE__BIG_CATS__OUTPUT_NAME": "y",
            "SERVICE__BIG_CATS__RESIZE": "crop",
            "SERVICE__BIG_CATS__PADDING": "9",
            "SERVICE__BIG_CATS__OUTPUT": "scores",
            "SERVICE__BIG_CATS__ACTIVATION": "softmax",
            "SERVICE__BIG_CATS__OUTPUT_FORM": "logits",
            "SERVICE__BIG_CATS__LABELS": "labels/cats.txt",
            "SERVICE__BIG_CATS__GOLDEN": "golden/cats",
            "SERVICE__BIG_CATS__GOLDEN_ENFORCE": "true",
            "SERVICE__BIG_CATS__MAX_MESSAGE_BYTES": "8388608",
            "SERVICE__BIG_CATS__DEADLINE_MS": "2500",
            "SERVICE__BIG_CATS__MAX_CONCURRENCY": "8",
        }
    ).services["big-cats"]

    values = dataclasses.asdict(service)
    assert values.pop("preprocessing") == {
        "size": 299,
        "resize": 320,
        "fit": Fit.CROP,
        "padding": 9,
        "mean": (103.9, 116.8, 123.7),
        "scale": (1, 1, 1),
        "order": ChannelOrder.BGR,
    }
    assert values == {
        "name": "big-cats",
        "address": "10.0.0.4",
        "port": 8443,
        "tls": Tls.REQUIRED,
        "tls_name": "cats.example.com",
        "primary_key_secret": "one",
        "secondary_key_secret": "two",
        "pins_secret": "three",
        "control_plane_name": "",
        "certificate_secret": "big-cats-certificate",
        "model": "resnet",
        "signature": "serving_default",
        "input_name": "x",
        "input_form": InputForm.TENSOR,
        "trust": Trust.BOTH,
        "trust_file": str(ROOT / "host.json"),
        "client_certificate_secret": "own",
        "auth": Auth.ENTRA,
        "auth_scope": "api://cats/.default",
        "auth_metadata": "x-key",
        "call_metadata": (("a", "1"),),
        "authority": "cats.example.net",
        "input_type": Datatype.UINT8,
        "input_layout": Layout.NCHW,
        "model_version": "7",
        "max_batch": 8,
        "protocol": Protocol.TENSORFLOW,
        "metadata": Metadata.KEEP,
        "output_name": "y",
        "output": OutputKind.SCORES,
        "activation": Activation.SOFTMAX,
        "output_form": OutputForm.LOGITS,
        "labels": "labels/cats.txt",
        "golden": "golden/cats",
        "golden_enforce": True,
        "max_message_bytes": 8 * 1024 * 1024,
        "deadline_seconds": 2.5,
        "max_concurrency": 8,
    }


def test_several_services_can_be_configured() -> None:
    settings = load({**MINIMAL, "SERVICES": "cats, dogs", "SERVICE__DOGS__ADDRESS": "dogs", "DEFAULT_SERVICE": "dogs"})

    assert list(settings.services) == ["cats", "dogs"]
    assert settings.default_service == "dogs"


def test_only_one_value_turns_tls_off_and_then_no_vault_is_required() -> None:
    without_vault = {"SERVICES": "cats", "SERVICE__CATS__ADDRESS": "localhost"}

    settings = load({**without_vault, "SERVICE__CATS__TLS": "insecure-no-key-is-sent"})

    assert settings.services["cats"].tls is Tls.INSECURE
    assert settings.vault is None
    for value in ("off", "false", "insecure"):
        assert "SERVICE__CATS__TLS" in faults(SERVICE__CATS__TLS=value)


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"SERVICES": ""}, "SERVICES lists no service"),
        ({"SERVICES": "Cats"}, "SERVICES contains 'Cats'; a name is lower-case letters, digits and hyphens"),
        ({"SERVICES": "cats,cats"}, "SERVICES lists 'cats' twice"),
        ({"SERVICES": "cats,dogs"}, "SERVICE__DOGS__ADDRESS is missing: the host name or IP address of the service"),
        ({"DEFAULT_SERVICE": "dogs"}, "DEFAULT_SERVICE is 'dogs', which SERVICES does not list"),
        ({"KEY_VAULT_URL": ""}, "KEY_VAULT_URL is missing"),
        ({"KEY_VAULT_URL": "http://vault"}, "KEY_VAULT_URL is not an https address, as in https://my-vault."),
        ({"KEY_VAULT_IDENTITY": "me"}, "KEY_VAULT_IDENTITY is 'me'; it is one of managed, default"),
        ({"KEY_VAULT_CA_FILE": "nowhere.pem"}, "KEY_VAULT_CA_FILE is 'nowhere.pem', which is not a file"),
        ({"SERVICE__CATS__PORT": "65536"}, "SERVICE__CATS__PORT is '65536'; a whole number from 1 to 65535 is needed"),
        ({"SERVICE__CATS__PORT": "-1"}, "SERVICE__CATS__PORT is '-1'"),
        ({"SERVICE__CATS__PORT": "٣"}, "SERVICE__CATS__PORT is '٣'"),
        ({"SERVICE__CATS__INPUT_FORM": "jpeg"}, "SERVICE__CATS__INPUT_FORM is 'jpeg'; it is one of encoded, tensor"),
        ({"SERVICE__CATS__CHANNEL_MEAN": "1,2"}, "SERVICE__CATS__CHANNEL_MEAN is '1,2'; three numbers"),
        ({"SERVICE__CATS__CHANNEL_SCALE": "1,0,1"}, "SERVICE__CATS__CHANNEL_SCALE is '1,0,1'; none of the three"),
        ({"SERVICE__CATS__IMAGE_RESIZE": "100"}, "SERVICE__CATS__IMAGE_RESIZE is '100'; a whole number from 224"),
        ({"SERVICE__CATS__DEADLINE_MS": "0"}, "SERVICE__CATS__DEADLINE_MS is '0'"),
        ({"SERVICE__CATS__ADRESS": "x"}, "SERVICE__CATS__ADRESS is not known; SERVICE__CATS__ADDRESS may be meant"),
        ({"SERVICE__cats__ADDRESS": "x"}, "SERVICE__cats__ADDRESS is not known; SERVICE__CATS__ADDRESS may be meant"),
        ({"SERVICE__CATS__COLOUR": "x"}, "SERVICE__CATS__COLOUR is no setting of a service"),
        ({"SERVICE__DOGS__ADDRESS": "x"}, "SERVICE__DOGS__ADDRESS is not known: SERVICES does not list 'dogs'"),
        (
            {"SERVICE__BIG_DOGS__ADDRESS": "x", "SERVICE__BIG_DOGS__PORT": "1", "SERVICE__BIG_DOGS__MODEL": "y"},
            "SERVICE__BIG_DOGS__ADDRESS and 2 more of that service are not known: SERVICES does not list 'big-dogs'",
        ),
        ({"MAX_IMAGES": "many"}, "MAX_IMAGES is 'many'"),
        ({**ROTATED, **SECOND_ROTATED}, "PINS_SECRET is 'cats-pins' for each of cats, dogs"),
        (
            {**ROTATED, "SERVICE__CATS__SECONDARY_KEY_SECRET": "CATS-Primary-Key"},
            "'cats-primary-key' for different purposes: SERVICE__CATS__PRIMARY_KEY_SECRET, SERVICE__CATS__SECONDARY",
        ),
        (
            {**ROTATED, **SECOND, "SERVICE__DOGS__SECONDARY_KEY_SECRET": "cats-primary-key"},
            "'cats-primary-key' for different purposes: SERVICE__CATS__PRIMARY_KEY_SECRET, SERVICE__DOGS__SECONDARY",
        ),
        (
            {**ROTATED, "SERVICE__CATS__PINS_SECRET": "cats-rotation-lease"},
            "use the secret 'cats-rotation-lease' for different purposes",
        ),
        (
            {**ROTATED, **SECOND_ROTATED, "SERVICE__DOGS__PINS_SECRET": "Cats-PINS"},
            "'cats-pins' for each of cats, dogs",
        ),
        (
            {**ROTATED, "SERVICE__CATS__TLS": "insecure-no-key-is-sent"},
            "SERVICE__CATS__CONTROL_PLANE_NAME is set for a service without TLS",
        ),
    ],
)
def test_the_error_names_the_invalid_setting_and_the_allowed_values(changes: dict[str, str], detail: str) -> None:
    assert detail in faults(**changes)


def test_the_error_names_all_invalid_settings() -> None:
    detail = faults(SERVICE__CATS__PORT="x", SERVICE__CATS__ADDRESS="", MAX_IMAGES="y")

    assert [part.split()[0] for part in detail.split("; ") if part.isupper() or "__" in part or "MAX" in part] == [
        "SERVICE__CATS__ADDRESS",
        "SERVICE__CATS__PORT",
        "MAX_IMAGES",
    ]


def test_a_secret_in_place_of_its_name_is_not_repeated() -> None:
    detail = faults(SERVICE__CATS__PRIMARY_KEY_SECRET="p4ssw0rd/+=")

    assert "SERVICE__CATS__PRIMARY_KEY_SECRET is not the name of a Key Vault secret" in detail
    assert "p4ssw0rd" not in detail


def test_a_check_is_enforced_only_where_there_is_one() -> None:
    assert "GOLDEN names no folder" in faults(SERVICE__CATS__GOLDEN_ENFORCE="true")
    assert "it is one of no, yes, false, true" in faults(SERVICE__CATS__GOLDEN="x", SERVICE__CATS__GOLDEN_ENFORCE="1")
    assert not load({**MINIMAL, "SERVICE__CATS__GOLDEN_ENFORCE": "false"}).services["cats"].golden_enforce


def test_the_settings_of_a_rotated_service() -> None:
    settings = load({**MINIMAL, **ROTATED, "ROTATION_GRACE_SECONDS": "0", "ROTATION_ALLOW_SELF_SIGNED": "yes"})

    service, rotation = settings.services["cats"], settings.rotation
    assert (service.control_plane_name, service.certificate_secret) == ("cats-on-fpga", "cats-certificate")
    assert service.certificate_names == ("cats.example.com",)
    assert rotation is not None
    assert (rotation.subscription, rotation.group, rotation.account) == ("0", "animals", "models")
    assert (rotation.arm_endpoint, rotation.grace_seconds) == ("https://management.azure.com", 0)
    assert rotation.allow_self_signed


def test_rotation_requires_the_control_planes_account() -> None:
    detail = faults(SERVICE__CATS__CONTROL_PLANE_NAME="cats")

    for name in ("CONTROL_PLANE_SUBSCRIPTION", "CONTROL_PLANE_GROUP", "CONTROL_PLANE_ACCOUNT"):
        assert f"{name} is missing" in detail


def test_one_of_two_services_that_share_secrets_can_be_rotated() -> None:
    shared = {f"SERVICE__DOGS__{purpose}_SECRET": f"cats-{purpose.lower().replace('_', '-')}" for purpose in PURPOSES}

    settings = load({**MINIMAL, **ROTATED, **SECOND, **shared})

    assert settings.services["dogs"].pins_secret == settings.services["cats"].pins_secret
    # Another app that calls the service differently has the same lease.
    assert settings.services["dogs"].rotation_secret == settings.services["cats"].rotation_secret == "cats-rotation"


def test_without_rotated_services_there_are_no_rotation_settings() -> None:
    assert load(MINIMAL).rotation is None


def test_an_invalid_webhook_url_is_not_repeated() -> None:
    detail = faults(**ROTATED, ROTATION_WEBHOOK_URL="ftp://hooks.example.com/secret")

    assert "ROTATION_WEBHOOK_URL is not an https address" in detail
    assert "hooks.example.com" not in detail


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"TLS": "insecure-no-key-is-sent", "AUTH": "bearer"}, "AUTH is set for a service without TLS"),
        ({"TLS": "insecure-no-key-is-sent", "CLIENT_CERTIFICATE_SECRET": "c"}, "CLIENT_CERTIFICATE_SECRET is set for"),
        ({"TRUST_FILE": "host.json"}, "TRUST_FILE is set, but TRUST is pins"),
        ({"AUTH": "entra"}, "AUTH_SCOPE belongs to AUTH=entra"),
        ({"AUTH_SCOPE": "api://x/.default"}, "AUTH_SCOPE belongs to AUTH=entra"),
        ({"METADATA": "authorization=secret"}, "METADATA has authorization, which carries what AUTH says"),
        ({"METADATA": "Seldon-Model=a"}, "METADATA has 'Seldon-Model', which is not name=value"),
        ({"METADATA": "x"}, "METADATA has 'x', which is not name=value"),
        ({"AUTH_METADATA": "grpc-timeout"}, "AUTH_METADATA is 'grpc-timeout'; a name of metadata"),
        ({"PROTOCOL": "open-inference"}, "MODEL is missing: this protocol's requests name the model"),
        ({"INPUT_TYPE": "UINT8"}, "INPUT_TYPE is UINT8, which contradicts the INPUT_FORM encoded"),
        ({"CHANNEL_MEAN": "imagenot"}, "or one of imagenet, tensorflow, unit, none"),
    ],
)
def test_settings_of_a_service_that_contradict_each_other(settings: dict[str, str], fault: str) -> None:
    assert fault in faults(**{f"SERVICE__CATS__{key}": value for key, value in settings.items()})


def test_a_service_with_public_trust_and_no_authorization_needs_no_vault() -> None:
    settings = load(
        {
            "SERVICES": "cats",
            "SERVICE__CATS__ADDRESS": "cats.example.com",
            "SERVICE__CATS__TRUST": "public",
            "SERVICE__CATS__AUTH": "none",
            "SERVICE__CATS__METADATA": "seldon-model=resnet, x-team=vision",
        }
    )

    assert settings.vault is None
    assert settings.services["cats"].call_metadata == (("seldon-model", "resnet"), ("x-team", "vision"))


def test_the_earlier_name_of_the_activation_still_works() -> None:
    def activation(**changes: str) -> Activation:
        return load({**MINIMAL, **changes}).services["cats"].activation_function

    assert activation() is Activation.NONE
    assert activation(SERVICE__CATS__OUTPUT_FORM="logits") is Activation.SOFTMAX
    assert activation(SERVICE__CATS__ACTIVATION="sigmoid") is Activation.SIGMOID
    assert activation(SERVICE__CATS__ACTIVATION="softmax", SERVICE__CATS__OUTPUT_FORM="logits") is Activation.SOFTMAX


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"ACTIVATION": "sigmoid", "OUTPUT_FORM": "logits"},
            "OUTPUT_FORM is logits, which contradicts ACTIVATION=sigmoid",
        ),
        ({"OUTPUT": "raw", "ACTIVATION": "softmax"}, "ACTIVATION is set, but OUTPUT is raw"),
        ({"OUTPUT": "raw", "OUTPUT_FORM": "logits"}, "OUTPUT_FORM is set, but OUTPUT is raw"),
        ({"OUTPUT": "raw", "LABELS": "imagenet"}, "LABELS is set, but OUTPUT is raw"),
        ({"LABELS": "service"}, "LABELS is service, but only Triton names its classes"),
        ({"RESIZE": "stretch"}, "RESIZE is stretch, but the service gets files"),
        ({"RESIZE": "letterbox", "INPUT_FORM": "tensor", "IMAGE_RESIZE": "300"}, "IMAGE_RESIZE is set, but RESIZE is"),
        ({"PADDING": "256"}, "PADDING is '256'; a whole number from 0 to 255"),
        ({"OUTPUT": "boxes"}, "OUTPUT is 'boxes'; it is one of classes, scores, raw"),
    ],
)
def test_outputs_that_do_not_fit_together_are_errors(changes: dict[str, str], fault: str) -> None:
    detail = faults(**{f"SERVICE__CATS__{key}": value for key, value in changes.items()})

    assert f"SERVICE__CATS__{fault}" in detail


def test_raw_means_every_output_unless_one_is_named() -> None:
    raw = {**MINIMAL, "SERVICE__CATS__OUTPUT": "raw"}

    assert load(raw).services["cats"].output_name == ""
    assert load({**raw, "SERVICE__CATS__OUTPUT_NAME": "boxes"}).services["cats"].output_name == "boxes"
