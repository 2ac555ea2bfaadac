"""Services, models and operations, as in the state file."""

from dataclasses import dataclass, field

# States of a service in the file; "Updating" and "Deleting" result from its operations.
CREATING, SUCCEEDED, FAILED = "Creating", "Succeeded", "Failed"

# The other states of an operation.
NOT_STARTED, RUNNING, CANCELLED = "NotStarted", "Running", "Cancelled"

# Kinds of operations.
CREATE, UPDATE, DELETE = "Create", "Update", "Delete"


@dataclass(frozen=True, kw_only=True)
class ServiceRecord:
    """One service. ``chain`` (leaf first) and ``key`` are PEM, empty where there is none.

    A service with ``tls`` and an empty chain was created without a valid certificate, and does not start. ``port`` is 0
    until the first start. ``swap`` is ``hot``, ``restart``, or empty for the default.
    Times are Unix seconds.
    """

    id: str
    name: str
    model_id: str
    port: int = 0
    state: str = CREATING
    error: str | None = None
    tls: bool
    chain: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    primary_key: str = field(repr=False)
    secondary_key: str = field(repr=False)
    swap: str = ""
    created: float
    updated: float


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """One registered model: ``size`` values for each image, of the form probabilities, logits or features.

    ``version`` counts the models of one name; ``labels`` is the number of class names, 0 where there are none.
    """

    id: str
    name: str
    version: int
    url: str
    form: str
    size: int
    labels: int
    created: float


@dataclass(frozen=True, kw_only=True)
class OperationRecord:
    """One asynchronous operation on a service, which may have been deleted since. Times are Unix seconds."""

    id: str
    kind: str
    service_id: str
    state: str = NOT_STARTED
    error: str | None = None
    created: float
    ended: float | None = None

    @property
    def finished(self) -> bool:
        return self.state not in (NOT_STARTED, RUNNING)


BUILT_IN = ModelRecord(
    id="imagenet",
    name="imagenet",
    version=1,
    url="builtin:efficientnet-lite0",
    form="probabilities",
    size=1000,
    labels=1000,
    created=0.0,
)
"""The local EfficientNet-Lite0, which is always registered and cannot be deleted."""
