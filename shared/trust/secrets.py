"""What Key Vault holds, without the SDK that reads it: cheap to import at a cold start."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Version:
    """A version of a secret. Times are Unix seconds, which Key Vault rounds down to whole ones."""

    id: str
    created: float
    enabled: bool = True
    expires: float | None = None


@dataclass(frozen=True)
class Secret:
    """A version of a secret with its value."""

    value: str = field(repr=False)
    version: str
    created: float
