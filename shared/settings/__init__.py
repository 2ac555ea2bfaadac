"""The app settings: read from the environment, checked as a whole, each fault named."""

from shared.settings.access import Access, Authenticator, AuthLevel, auth_level
from shared.settings.loader import load, prefix
from shared.settings.reader import APP_ROOT
from shared.settings.schema import General, IdentityKind, Limits, RotationSettings, Settings, VaultSettings
from shared.settings.service import (
    SERVICE_LABELS,
    Activation,
    Auth,
    ChannelOrder,
    Datatype,
    Fit,
    InputForm,
    Layout,
    Metadata,
    OutputForm,
    OutputKind,
    Preprocessing,
    Protocol,
    ServiceSettings,
    Tls,
    Trust,
)
from shared.settings.telemetry import OtlpSettings, TelemetrySettings
from shared.settings.traffic import SplitSettings

__all__ = [
    "APP_ROOT",
    "SERVICE_LABELS",
    "Access",
    "Activation",
    "Auth",
    "AuthLevel",
    "Authenticator",
    "ChannelOrder",
    "Datatype",
    "Fit",
    "General",
    "IdentityKind",
    "InputForm",
    "Layout",
    "Limits",
    "Metadata",
    "OtlpSettings",
    "OutputForm",
    "OutputKind",
    "Preprocessing",
    "Protocol",
    "RotationSettings",
    "ServiceSettings",
    "Settings",
    "SplitSettings",
    "TelemetrySettings",
    "Tls",
    "Trust",
    "VaultSettings",
    "auth_level",
    "load",
    "prefix",
]
