"""The app settings: read from the environment, checked as a whole, each fault named."""

from shared.settings.reader import APP_ROOT
from shared.settings.schema import (
    ChannelOrder,
    General,
    IdentityKind,
    InputForm,
    Limits,
    Metadata,
    OutputForm,
    Preprocessing,
    RotationSettings,
    ServiceSettings,
    Settings,
    Tls,
    VaultSettings,
    load,
    prefix,
)

__all__ = [
    "APP_ROOT",
    "ChannelOrder",
    "General",
    "IdentityKind",
    "InputForm",
    "Limits",
    "Metadata",
    "OutputForm",
    "Preprocessing",
    "RotationSettings",
    "ServiceSettings",
    "Settings",
    "Tls",
    "VaultSettings",
    "load",
    "prefix",
]
