"""The page of all settings, from the schema that the gateway reads them by."""

from shared.settings import (
    Access,
    General,
    Limits,
    Preprocessing,
    RotationSettings,
    ServiceSettings,
    SplitSettings,
    TelemetrySettings,
    VaultSettings,
)
from shared.settings.reader import Setting, settings_of
from tools.reference.markdown import GENERATED, table

_INTRODUCTION = """# Settings

App settings are environment variables: in Azure the function app's *environment variables*, locally the `Values` of
`local.settings.json`. A faulty, missing or misspelled one makes every request fail with
[`misconfigured`](errors.md#misconfigured), which names it.
"""

_SERVICE = """Each service has its own settings, named `SERVICE__{NAME}__` and the name below, with the service's name
in capitals and `_` for `-`: `SERVICE__MY_MODEL__ADDRESS` of the service `my-model`.
"""

_ROTATION = """A service with `CONTROL_PLANE_NAME` has its certificate and keys rotated ([rotation](../rotation.md)).
Two services must not have the same `CONTROL_PLANE_NAME`, `PINS_SECRET`, `CERTIFICATE_SECRET` or key secrets: leave
`CONTROL_PLANE_NAME` to one of them.
"""

_TELEMETRY = """Off unless one of the addresses or `METRICS_KEY` is set; [telemetry](../telemetry.md) lists the metrics.
"""

SECTIONS = (
    ("The gateway", "", (General, Access, VaultSettings, Limits)),
    ("A service", _SERVICE, (ServiceSettings, Preprocessing, SplitSettings)),
    ("Rotation", _ROTATION, (RotationSettings,)),
    ("Telemetry", _TELEMETRY, (TelemetrySettings,)),
)


def page() -> str:
    """The page's text."""
    parts = [GENERATED, _INTRODUCTION]
    for title, introduction, schemas in SECTIONS:
        rows = [_row(one) for schema in schemas for one in settings_of(schema)]
        parts += [f"## {title}\n", introduction, table(("setting", "default", "allowed", "meaning"), rows)]
    return "\n".join(part for part in parts if part)


def _row(one: Setting) -> tuple[str, str, str, str]:
    default = f"`{one.default}`" if one.default and " " not in one.default else one.default
    return f"`{one.key}`", default, one.kind.allowed, one.meaning
