"""The app settings of one service: read from a file and the command line, and printed for where they belong."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.errors import Misconfigured
from shared.settings import Settings, load, prefix
from tools.store_secrets.arguments import Options, WrongCommand

# In azd's parameter files; a default may follow.
_VARIABLE = re.compile(r"\$\{(\w+)(?:=([^}]*))?\}")

# A file of settings is larger than this by mistake only.
_LONGEST = 1_000_000


def environ(options: Options) -> dict[str, str]:
    """The settings of the one service that is checked, and those of the gateway as a whole.

    Raises:
        Misconfigured: the file cannot be used, or does not say which service is meant.
    """
    found = _from_file(options.settings) if options.settings else {}
    listed = [name for name in re.split(r"[,\s]+", found.get("SERVICES", "")) if name]
    service = options.service or (listed[0] if len(listed) == 1 else "")
    if not service:
        which = f"one of {', '.join(listed)}" if listed else "its name, such as imagenet"
        raise WrongCommand(f"No service is named: write {which}, as the first argument.")
    own = prefix(service)
    chosen = {key: value for key, value in found.items() if not key.startswith("SERVICE__") or key.startswith(own)}
    chosen.pop("DEFAULT_SERVICE", None)
    chosen |= {f"{own}{key}": value for key, value in options.set}
    if options.vault:
        named = options.vault if "://" in options.vault else f"https://{options.vault}.vault.azure.net"
        chosen["KEY_VAULT_URL"] = named
    for key, value in chosen.items():
        if unset := _VARIABLE.search(value):
            raise Misconfigured(
                f"{key} is {value!r}, and {unset[1]} is not set in this shell: set it to what `azd env get-value "
                f"{unset[1]}` prints, or name the value by --set."
            )
    return {**chosen, "SERVICES": service, "KEY_VAULT_IDENTITY": options.identity}


def checked(values: Mapping[str, str]) -> Settings:
    """As the gateway reads them, apart from who may call it, which is not known here.

    Raises:
        Misconfigured: they have a fault; each is named.
    """
    return load({key: value for key, value in values.items() if key not in {"AUTH_LEVEL", "AUTHENTICATED_BY"}})


def lines(options: Options, values: Mapping[str, str]) -> Iterator[str]:
    """The settings to set, as JSON and as a command."""
    service = values["SERVICES"]
    before = _from_file(options.settings).get("SERVICES", "") if options.settings else ""
    names = [name for name in re.split(r"[,\s]+", before) if name]
    every = ",".join(names if service in names else [*names, service])
    # A local vault's file of trust, and the like, are not for the cloud.
    shown = {"SERVICES": every, "KEY_VAULT_URL": values["KEY_VAULT_URL"]}
    shown |= {key: value for key, value in sorted(values.items()) if key.startswith(prefix(service))}
    yield "The app settings, for `settings` of a Bicep parameter file or of Helm's values, or `Values` of"
    yield "local.settings.json:"
    yield ""
    yield json.dumps(shown, indent=2)
    yield ""
    yield "Or directly, until the next `azd provision`:"
    yield ""
    given = [f"{key}={value}" for key, value in shown.items()]
    quoted = subprocess.list2cmdline(given) if os.name == "nt" else shlex.join(given)
    yield f"az functionapp config appsettings set --resource-group RG --name APP --settings {quoted}"


def _from_file(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        document = json.loads(text) if len(text) <= _LONGEST else None
        found = _values(document)
    except OSError as error:
        raise WrongCommand(f"The file {str(path)!r} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise WrongCommand(f"The file {str(path)!r} is not JSON in UTF-8.") from error
    if found is None:
        raise WrongCommand(f"The file {str(path)!r} has no settings: an object of names and texts is expected.")
    return {key: _VARIABLE.sub(_substituted, value) for key, value in found.items()}


def _values(document: Any) -> dict[str, str] | None:
    for path in (("Values",), ("parameters", "settings", "value"), ()):
        found = document
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
            return found
    return None


def _substituted(found: re.Match[str]) -> str:
    """A variable of azd's environment; one that is not set stays as it is, for what comes after may replace it."""
    return os.environ.get(found[1]) or (found[0] if found[2] is None else found[2])
