"""The address of a receiver, and all that a connection to it needs; imported by the exporting thread alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """Where one signal is sent to, and how; ``seconds`` is the time for one export."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    seconds: float = 10.0
    compressed: bool = False
    ca_file: str = ""
    client_certificate: str = ""
    client_key: str = ""
    grpc: bool = False
