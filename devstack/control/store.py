"""The state of the control plane: services, models and operations, in one file of a folder.

It is one file so that a change of a service and the end of its operation are one write, and no response reports a
success that is not on disk. Only its owner can read it, because it contains the services' keys. A store is used by one
process and one thread.
"""

import json
import re
import secrets
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from devstack import typed_json
from devstack.control.errors import NameInUse
from devstack.control.records import (
    BUILT_IN,
    CREATING,
    FAILED,
    SUCCEEDED,
    ModelRecord,
    OperationRecord,
    ServiceRecord,
)
from devstack.files import remove_leftovers, write_atomically
from devstack.rest.errors import BadRequest, DamagedFile

_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")

# Older operations are removed once they have ended.
_KEPT_OPERATIONS = 500

_INTERRUPTED = "The control plane was restarted before the operation ended: send the request again."


@dataclass(frozen=True)
class _State:
    """The content of the file."""

    services: tuple[ServiceRecord, ...]
    models: tuple[ModelRecord, ...]
    operations: tuple[OperationRecord, ...]


class ControlStore:
    """The state in ``folder``, which is made if it is missing.

    An operation that had not ended when the last process ended becomes Failed, and so does a service during creation.

    Raises:
        DamagedFile: the file in the folder is not what this class wrote.
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
        """Make a service of that name, unless there is one, for the next start of the control plane.

        ``chain`` (leaf first) and ``key`` are PEM; without them the service has no TLS. ``port`` 0 takes a free one.

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
        """A record for a service with new keys, not yet saved.

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
        """Save the port of a service, which it gets at its first start."""
        self.save(service=replace(self._services[service_id], port=port))

    # Models.

    def models(self) -> list[ModelRecord]:
        """All models, the built-in one first, then the oldest."""
        return [BUILT_IN, *sorted(self._models.values(), key=lambda record: (record.created, record.id))]

    def model(self, model_id: str) -> ModelRecord | None:
        return BUILT_IN if model_id == BUILT_IN.id else self._models.get(model_id)

    def next_version(self, name: str) -> int:
        """The version of the next model of that name."""
        return max((record.version for record in self.models() if record.name == name), default=0) + 1

    def model_folder(self, model_id: str) -> Path:
        """The folder of a registered model's files."""
        return self.models_folder / model_id

    # Operations.

    def operation(self, operation_id: str) -> OperationRecord | None:
        return self._operations.get(operation_id)

    def operations(self, service_id: str) -> list[OperationRecord]:
        """The operations on a service, the oldest first."""
        return [operation for operation in self._operations.values() if operation.service_id == service_id]

    def unfinished(self, service_id: str) -> OperationRecord | None:
        """The newest operation on a service that has not ended."""
        return next((found for found in reversed(self.operations(service_id)) if not found.finished), None)

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
        """Add, replace and remove records, all in one write.

        Raises:
            OSError: it cannot be written; nothing has changed.
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
        state = _State(tuple(self._services.values()), tuple(self._models.values()), tuple(self._operations.values()))
        return json.dumps({"format": _FORMAT, **asdict(state)}, indent=1).encode()

    def _load(self) -> None:
        remove_leftovers(self._path.parent)
        if self._path.exists():
            try:
                self._read(self._path.read_bytes())
            except ValueError as error:
                raise DamagedFile("control plane", self._path, str(error), "begin without services") from None
        for folder in self.models_folder.iterdir():
            if folder.name not in self._models:  # of an interrupted registration
                shutil.rmtree(folder, ignore_errors=True)

    def _read(self, content: bytes) -> None:
        state = typed_json.read(_State, typed_json.load(content, _FORMAT))
        self._services = {record.id: _after_restart(record) for record in state.services}
        self._models = {record.id: record for record in state.models}
        self._operations = {record.id: self._ended(record) for record in state.operations}

    def _ended(self, record: OperationRecord) -> OperationRecord:
        if record.finished:
            return record
        return replace(record, state=FAILED, error=_INTERRUPTED, ended=self._clock())


def new_key() -> str:
    """A random key."""
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
