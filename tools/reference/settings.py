"""The page of all settings, from the schema that the gateway reads them by."""

from shared.settings import (
    Access,
    General,
    Limits,
    OtlpSettings,
    Preprocessing,
    RotationSettings,
    ServiceSettings,
    SplitSettings,
    TelemetrySettings,
    VaultSettings,
)
from shared.settings.insights import InsightsSettings
from shared.settings.reader import Setting, settings_of
from shared.settings.telemetry import OTLP_PREFIX
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

_TELEMETRY = """Off unless `TELEMETRY`, one of the addresses or `METRICS_KEY` is set
([telemetry](../telemetry.md)). Each of `OTEL_EXPORTER_OTLP_ENDPOINT`, `..._PROTOCOL`, `..._HEADERS`, `..._TIMEOUT`,
`..._COMPRESSION`, `..._CERTIFICATE`, `..._CLIENT_CERTIFICATE` and `..._CLIENT_KEY` is also read for one signal alone,
with `METRICS_` or `TRACES_` after `OTLP_`; such an `ENDPOINT` is the whole address.
"""

SECTIONS = (
    ("The gateway", "", (General, Access, VaultSettings, Limits)),
    ("A service", _SERVICE, (ServiceSettings, Preprocessing, SplitSettings)),
    ("Rotation", _ROTATION, (RotationSettings,)),
    ("Telemetry", _TELEMETRY, (TelemetrySettings, InsightsSettings, OtlpSettings)),
)

_PREFIXES: dict[type, str] = {OtlpSettings: OTLP_PREFIX}


def page() -> str:
    """The page's text."""
    parts = [GENERATED, _INTRODUCTION]
    for title, introduction, schemas in SECTIONS:
        rows = [_row(one, _PREFIXES.get(schema, "")) for schema in schemas for one in settings_of(schema)]
        parts += [f"## {title}\n", introduction, table(("setting", "default", "allowed", "meaning"), rows)]
    return "\n".join(part for part in parts if part)


def _row(one: Setting, prefix: str) -> tuple[str, str, str, str]:
    default = f"`{one.default}`" if one.default and " " not in one.default else one.default
    return f"`{prefix}{one.key}`", default, one.kind.allowed, one.meaning
