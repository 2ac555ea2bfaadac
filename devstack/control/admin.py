"""The routes that are no part of the API: faults, and what a service does beside what its record says.

``/_devstack/faults``: GET, PUT (one fault or a list, see :mod:`devstack.control.faults`), DELETE.
``/_devstack/services/{name or id}``: GET tells the fingerprint of the certificate that is really served, how
certificates are exchanged, the operations that are remembered, the calls that arrived since the service's last start (a
thousand at most), and the faults of the data plane (see :mod:`devstack.fpga.faults`). PUT changes how certificates are
exchanged and the faults, as in ``{"swap": "restart", "faults": {"delay_ms": 500}}``; DELETE sets both back.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from devstack.control import wire
from devstack.control.errors import BadRequest, NotFound
from devstack.control.faults import Fault, Faults
from devstack.control.fleet import Fleet
from devstack.control.loops import LoopThread
from devstack.control.operations import Operations
from devstack.control.records import ServiceRecord
from devstack.control.store import ControlStore
from devstack.fpga import Faults as DataPlaneFaults
from devstack.fpga import faults as data_plane_faults

SWAPS = ("hot", "restart")
"""How a certificate is exchanged: under the open connections, or with a restart that drops them all."""


class Admin:
    """The admin routes' handlers; ``swap`` is what holds for services that say nothing themselves."""

    def __init__(
        self, store: ControlStore, operations: Operations, fleet: Fleet, data_plane: LoopThread, *, swap: str
    ) -> None:
        self.faults = Faults()
        self._store = store
        self._operations = operations
        self._fleet = fleet
        self._data_plane = data_plane
        self._swap = swap

    @property
    def handlers(self) -> Mapping[str, Callable[[Request], Awaitable[Response]]]:
        """The handlers by their paths; each takes GET, PUT and DELETE, with the body read."""
        return {"/_devstack/faults": self._switch_faults, "/_devstack/services/{service}": self._service}

    async def _switch_faults(self, request: Request) -> Response:
        if request.method == "PUT":
            self.faults.switch(_parse_faults(request.state.body))
        elif request.method == "DELETE":
            self.faults.switch([])
        if request.method != "GET":
            self._operations.release()
        return JSONResponse({"faults": self.faults.describe()})

    async def _service(self, request: Request) -> Response:
        named: str = request.path_params["service"]
        record = self._store.find_service(named) or self._store.service(named)
        if record is None:
            raise NotFound(f"There is no service {named}.")
        if request.method == "PUT":
            record = await self._change(record, wire.parse_object(request.state.body))
        elif request.method == "DELETE":
            record = await self._change(record, {"swap": "", "faults": {}})
        seen = await self._data_plane.call(self._fleet.describe(record.id))
        operations = [{"kind": each.kind, "state": each.state} for each in self._store.operations(record.id)]
        about = {"id": record.id, "name": record.name, "swap": record.swap or self._swap, "operations": operations}
        return JSONResponse({**about, **seen, "faults": asdict(seen["faults"])})

    async def _change(self, record: ServiceRecord, document: wire.Json) -> ServiceRecord:
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
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("The request body is not valid JSON.") from None
    return [Fault.parse(each) for each in (document if isinstance(document, list) else [document])]


def _parse_data_plane_faults(document: object) -> DataPlaneFaults:
    try:
        return data_plane_faults.parse(json.dumps(document).encode())
    except ValueError as error:
        raise BadRequest(f"faults: {error}") from None
