"""The settings of a service that spreads its requests over others: their names and weights, and nothing else."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from shared.settings.reader import Kind, Reader, setting, settings_of
from shared.settings.service import Preprocessing, ServiceSettings

TRAFFIC = "TRAFFIC"

_WEIGHT = re.compile(r"[0-9]{1,4}")
_MOST = 1000

type Weights = tuple[tuple[str, int], ...]


def _read(reader: Reader, key: str, default: Weights) -> Weights:
    found = dict(default)
    for part in filter(None, map(str.strip, reader.text(key).split(","))):
        name, _, weight = (one.strip() for one in part.partition(":"))
        if not name or not _WEIGHT.fullmatch(weight) or int(weight) > _MOST:
            reader.fault(
                key,
                f"has {part[:80]!r}; a service and its weight from 0 to {_MOST} is needed, as in blue:90,green:10",
            )
        elif name in found:
            reader.fault(key, f"names {name[:80]!r} twice")
        else:
            found[name] = int(weight)
    return tuple(found.items())


@dataclass(frozen=True)
class SplitSettings:
    """A split: a service whose requests are spread over others, its members, by weight."""

    name: str
    weights: Weights = setting(
        "TRAFFIC",
        Kind(_read, f"weights from 0 to {_MOST}"),
        (),
        "makes the service spread its requests over others, as in `blue:90,green:10`; it has no other setting "
        "([rollout](../rollout.md))",
        shown="",
    )


def is_split(own: Reader) -> bool:
    """Whether the service of these settings is a split."""
    return bool(own.text(TRAFFIC))


def read_split(own: Reader) -> SplitSettings:
    """The settings of a split; any other one of the service is a fault."""
    split = own.read(SplitSettings, name=own.service)
    if not split.weights:
        own.fault(TRAFFIC, "names no service with a weight, as in blue:90,green:10")
    elif not any(weight for _, weight in split.weights):
        own.fault(TRAFFIC, "has no weight above 0; at least one is needed, as in blue:90,green:10")
    for schema in (ServiceSettings, Preprocessing):
        for one in settings_of(schema):
            if own.text(one.key):
                own.fault(one.key, "is set for a service with TRAFFIC: set it for the services that TRAFFIC names")
    return split


def check_members(split: SplitSettings, own: Reader, listed: Collection[str], splits: Collection[str]) -> None:
    """The members must be services of their own: so a split can neither contain itself nor another one."""
    for member, _ in split.weights:
        if member == split.name:
            own.fault(TRAFFIC, f"names the service {member!r} itself")
        elif member in splits:
            own.fault(
                TRAFFIC, f"names {member!r}, which has TRAFFIC too: name that one's services, with weights for each"
            )
        elif member not in listed:
            own.fault(TRAFFIC, f"names {member[:80]!r}, which SERVICES does not list")
