"""The admin routes, which are not part of the API: injected faults, and the actual state of services.

``/_devstack/faults``: GET, PUT (one fault or a list, see :mod:`devstack.control.faults`), DELETE.
``/_devstack/services/{name or id}``: GET returns the fingerprint of the certificate that is actually served, how
certificates are replaced, the operations, the number of calls since the service's last start (a thousand at most), and
the faults of the data plane (see :mod:`devstack.fpga.faults`). PUT changes how certificates are replaced and the
faults, as in ``{"swap": "restart", "faults": {"delay_ms": 500}}``; DELETE resets both.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devstack import typed_json
from devstack.control.faults import Fault
from devstack.control.fleet import Fleet
from devstack.control.loops import LoopThread
from devstack.control.operations import Operations
from devstack.control.records import ServiceRecord
from devstack.control.store import ControlStore
from devstack.fpga import Faults as DataPlaneFaults
from devstack.rest.app import Handler
from devstack.rest.bodies import Json, parse_json, parse_object
from devstack.rest.errors import BadRequest, NotFound
from devstack.rest.faults import Faults

SWAPS = ("hot", "restart")
"""How a certificate is replaced: with connections kept open, or with a restart that drops them all."""


class Admin:
    """The handlers of the admin routes; ``swap`` is the default of services without a setting of their own."""

    def __init__(
        self, store: ControlStore, operations: Operations, fleet: Fleet, data_plane: LoopThread, *, swap: str
    ) -> None:
        self.faults: Faults[Fault] = Faults()
        self._store = store
        self._operations = operations
        self._fleet = fleet
        self._data_plane = data_plane
        self._swap = swap

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The handlers by their paths; each takes GET, PUT and DELETE, with the body read."""
        return {"/_devstack/faults": self._set_faults, "/_devstack/services/{service}": self._service}

    async def _set_faults(self, request: Request) -> Response:
        if request.method == "PUT":
            self.faults.set(_parse_faults(request.state.body))
        elif request.method == "DELETE":
            self.faults.set([])
        if request.method != "GET":
            self._operations.release()
        return JSONResponse({"faults": self.faults.describe()})

    async def _service(self, request: Request) -> Response:
        named: str = request.path_params["service"]
        record = self._store.find_service(named) or self._store.service(named)
        if record is None:
            raise NotFound(f"There is no service {named}.")
        if request.method == "PUT":
            record = await self._change(record, parse_object(request.state.body))
        elif request.method == "DELETE":
            record = await self._change(record, {"swap": "", "faults": {}})
        actual = await self._data_plane.call(self._fleet.describe(record.id))
        operations = [{"kind": found.kind, "state": found.state} for found in self._store.operations(record.id)]
        about = {"id": record.id, "name": record.name, "swap": record.swap or self._swap, "operations": operations}
        return JSONResponse({**about, **actual, "faults": asdict(actual["faults"])})

    async def _change(self, record: ServiceRecord, document: Json) -> ServiceRecord:
        unknown = document.keys() - {"swap", "faults"}
        if unknown:
            raise BadRequest(f"unknown fields {sorted(unknown)}; known: swap, faults")
        if document.get("swap", "") not in ("", *SWAPS):
            raise BadRequest(f"swap must be one of {list(SWAPS)}")
        faults = _parse_data_plane_faults(document["faults"]) if "faults" in document else None
        if "swap" in document:
            record = replace(record, swap=document["swap"])
            self._store.save(service=record)
        if faults is not None:
            await self._data_plane.call(self._fleet.set_faults(record.id, faults))
        return record


def _parse_faults(body: bytes) -> list[Fault]:
    document = parse_json(body)
    return list(map(Fault.parse, document if isinstance(document, list) else [document]))


def _parse_data_plane_faults(document: object) -> DataPlaneFaults:
    try:
        return typed_json.read(DataPlaneFaults, document, strict=True, name="faults")
    except ValueError as error:
        raise BadRequest(str(error)) from None
