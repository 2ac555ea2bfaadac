"""What the control plane remembers: services, models and operations, in one file of a folder.

One file, so that a change of a service and the end of its operation are one write: whatever interrupts the process, a
caller never reads of a success that is not on disk. The file is readable by its owner alone, because it holds the
services' keys. A store belongs to one process and one thread.
"""

import json
import re
import secrets
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from devstack.control import documents
from devstack.control.errors import BadRequest, DamagedState, NameInUse
from devstack.control.records import (
    BUILT_IN,
    CREATING,
    FAILED,
    SUCCEEDED,
    ModelRecord,
    OperationRecord,
    ServiceRecord,
)
from devstack.vault.files import write_atomically

_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")

# Operations that a client may still ask for; older ones are forgotten once they have ended.
_KEPT_OPERATIONS = 500

_INTERRUPTED = "The control plane was restarted before the operation ended: send the request again."


class ControlStore:
    """The state in ``folder``, which is made if it is missing.

    An operation that was under way when the last process ended is Failed now, and so is a service whose creation was.

    Raises:
        DamagedState: the file in the folder is not what this class wrote.
        OSError: the folder cannot be read or made.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.models_folder = folder / "models"
        self.models_folder.mkdir(mode=0o700, exist_ok=True)
        self._path = folder / "control.json"
        self._clock = clock
        self._services: dict[str, ServiceRecord] = {}
        self._models: dict[str, ModelRecord] = {}
        self._operations: dict[str, OperationRecord] = {}
        self._load()

    def __repr__(self) -> str:
        return f"<ControlStore {self._path.parent}: {len(self._services)} services, {len(self._models)} models>"

    def seed_service(
        self,
        *,
        name: str,
        primary_key: str,
        secondary_key: str,
        chain: bytes = b"",
        key: bytes = b"",
        port: int = 0,
        model_id: str = BUILT_IN.id,
    ) -> ServiceRecord:
        """Make sure that there is a service of that name, as the next start of the control plane is to serve it.

        One that is there already stays as it is: this is for the first start, and later ones have their own history.
        ``chain`` (leaf first) and ``key`` are PEM; without them the service has no TLS. ``port`` 0 lets the control
        plane choose.

        Raises:
            BadRequest: the name breaks the rules.
        """
        found = self.find_service(name)
        if found:
            return found
        record = self.new_service(name=name, model_id=model_id, tls=bool(chain))
        record = replace(
            record,
            port=port,
            state=SUCCEEDED,
            chain=chain.decode(),
            key=key.decode(),
            primary_key=primary_key,
            secondary_key=secondary_key,
        )
        self.save(service=record)
        return record

    # Services.

    def services(self) -> list[ServiceRecord]:
        """All services, the oldest first."""
        return sorted(self._services.values(), key=lambda record: (record.created, record.id))

    def service(self, service_id: str) -> ServiceRecord | None:
        return self._services.get(service_id)

    def find_service(self, name: str) -> ServiceRecord | None:
        """The service of that name."""
        return next((record for record in self._services.values() if record.name == name), None)

    def new_service(self, *, name: str, model_id: str, tls: bool) -> ServiceRecord:
        """A record for a service with keys of its own, not yet saved.

        Raises:
            BadRequest: the name breaks the rules.
            NameInUse: another service has it.
        """
        if not _NAME.fullmatch(name):
            raise BadRequest(
                "name must be 1 to 64 letters, digits, hyphens, dots and underscores; a letter or digit at both ends"
            )
        if self.find_service(name):
            raise NameInUse(f"The name {name} is in use by another service.")
        now = self._clock()
        return ServiceRecord(
            id=uuid.uuid4().hex,
            name=name,
            model_id=model_id,
            tls=tls,
            primary_key=new_key(),
            secondary_key=new_key(),
            created=now,
            updated=now,
        )

    def keep_port(self, service_id: str, port: int) -> None:
        """Remember the port that a service was given at its first start."""
        self.save(service=replace(self._services[service_id], port=port))

    # Models.

    def models(self) -> list[ModelRecord]:
        """All models, the built-in one first, then the oldest."""
        return [BUILT_IN, *sorted(self._models.values(), key=lambda record: (record.created, record.id))]

    def model(self, model_id: str) -> ModelRecord | None:
        return BUILT_IN if model_id == BUILT_IN.id else self._models.get(model_id)

    def next_version(self, name: str) -> int:
        """The version that another model of that name gets."""
        return max((record.version for record in self.models() if record.name == name), default=0) + 1

    def model_folder(self, model_id: str) -> Path:
        """Where a registered model's files are."""
        return self.models_folder / model_id

    # Operations.

    def operation(self, operation_id: str) -> OperationRecord | None:
        return self._operations.get(operation_id)

    def operations(self, service_id: str) -> list[OperationRecord]:
        """The operations on a service that are remembered, the oldest first."""
        return [each for each in self._operations.values() if each.service_id == service_id]

    def unfinished(self, service_id: str) -> OperationRecord | None:
        """The newest operation on a service that has not ended."""
        mine = [each for each in self._operations.values() if each.service_id == service_id and not each.finished]
        return mine[-1] if mine else None

    def new_operation(self, kind: str, service_id: str) -> OperationRecord:
        """A record for an operation, not yet saved."""
        return OperationRecord(id=uuid.uuid4().hex, kind=kind, service_id=service_id, created=self._clock())

    # Changes.

    def save(
        self,
        *,
        service: ServiceRecord | None = None,
        model: ModelRecord | None = None,
        operation: OperationRecord | None = None,
        without_service: str = "",
        without_model: str = "",
    ) -> None:
        """Put and remove records, all in one write.

        Raises:
            OSError: it cannot be written; everything is as it was.
        """
        before = (self._services, self._models, self._operations)
        self._services = _changed(self._services, service, without_service)
        self._models = _changed(self._models, model, without_model)
        self._operations = _newest(_changed(self._operations, operation, ""))
        try:
            write_atomically(self._path, self._to_json())
        except OSError:
            self._services, self._models, self._operations = before
            raise
        if without_model:
            shutil.rmtree(self.model_folder(without_model), ignore_errors=True)

    def now(self) -> float:
        """Unix seconds."""
        return self._clock()

    def _to_json(self) -> bytes:
        document = {
            "format": _FORMAT,
            "services": [documents.write(record) for record in self._services.values()],
            "models": [documents.write(record) for record in self._models.values()],
            "operations": [documents.write(record) for record in self._operations.values()],
        }
        return json.dumps(document, indent=1).encode()

    def _load(self) -> None:
        if self._path.exists():
            try:
                self._read(self._path.read_bytes())
            except ValueError as error:
                raise DamagedState(self._path, str(error)) from None
        for folder in self.models_folder.iterdir():
            if folder.name not in self._models:  # a registration that was interrupted
                shutil.rmtree(folder, ignore_errors=True)

    def _read(self, content: bytes) -> None:
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            # The decoder's own message is left out: it may quote what it read.
            raise ValueError("it is not JSON") from None
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT}")
        for name in ("services", "models", "operations"):
            if not isinstance(document.get(name), list):
                raise ValueError(f'"{name}" is no list')
        services = [documents.read(ServiceRecord, each) for each in document["services"]]
        models = [documents.read(ModelRecord, each) for each in document["models"]]
        operations = [documents.read(OperationRecord, each) for each in document["operations"]]
        self._services = {record.id: _after_restart(record) for record in services}
        self._models = {record.id: record for record in models}
        self._operations = {record.id: self._ended(record) for record in operations}

    def _ended(self, record: OperationRecord) -> OperationRecord:
        if record.finished:
            return record
        return replace(record, state=FAILED, error=_INTERRUPTED, ended=self._clock())


def new_key() -> str:
    """A key that nobody can guess."""
    return secrets.token_urlsafe(24)


def _after_restart(record: ServiceRecord) -> ServiceRecord:
    return replace(record, state=FAILED, error=_INTERRUPTED) if record.state == CREATING else record


def _changed[T: (ServiceRecord, ModelRecord, OperationRecord)](
    records: dict[str, T], put: T | None, without: str
) -> dict[str, T]:
    changed = {identifier: record for identifier, record in records.items() if identifier != without}
    if put:
        changed[put.id] = put
    return changed


def _newest(operations: dict[str, OperationRecord]) -> dict[str, OperationRecord]:
    surplus = len(operations) - _KEPT_OPERATIONS
    if surplus <= 0:
        return operations
    old = [record.id for record in operations.values() if record.finished][:surplus]
    return {identifier: record for identifier, record in operations.items() if identifier not in old}
