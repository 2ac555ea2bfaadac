"""Registering a model: its archive is fetched, checked and unpacked; a failure leaves nothing."""

import asyncio
import shutil
import uuid
from pathlib import Path

from devstack.control import packages
from devstack.control.errors import ModelInUse
from devstack.control.fetching import fetch
from devstack.control.records import BUILT_IN, ModelRecord
from devstack.control.store import ControlStore
from devstack.control.wire import text
from devstack.rest.bodies import Json
from devstack.rest.errors import BadRequest, NotFound

_MAX_NAME = 128


async def register(store: ControlStore, document: Json) -> ModelRecord:
    """Register the model of a request.

    Raises:
        BadRequest: a member is missing or invalid.
        InvalidPackage: there is no valid model at the URL.
    """
    name, url = text(document, "name"), text(document, "url")
    if len(name) > _MAX_NAME:
        raise BadRequest(f"name is longer than {_MAX_NAME} characters.")
    if document.get("mimeType") != "application/zip":
        raise BadRequest('mimeType must be "application/zip".')
    if document.get("unpack", False) is not False:
        raise BadRequest("unpack must be false: the control plane unpacks the archive itself.")
    model_id = uuid.uuid4().hex
    # If the process ends before the record is saved, the next start removes the folder.
    folder = store.model_folder(model_id)
    folder.mkdir(mode=0o700)
    try:
        package = await _unpacked(url, folder)
        record = ModelRecord(
            id=model_id,
            name=name,
            version=store.next_version(name),
            url=url,
            form=package.manifest.output.form,
            size=package.size,
            labels=package.labels,
            created=store.now(),
        )
        store.save(model=record)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return record


async def _unpacked(url: str, folder: Path) -> packages.Package:
    archive = folder / "model.zip"
    await fetch(url, archive)
    package = await asyncio.to_thread(packages.unpack, archive, folder)
    archive.unlink()
    return package


def delete(store: ControlStore, model_id: str, *, in_use: bool) -> None:
    """Delete a model; ``in_use`` says whether an unfinished operation will deploy it.

    Raises:
        NotFound: there is no such model.
        ModelInUse: it is the built-in one, or a service runs it.
    """
    if store.model(model_id) is None:
        raise NotFound(f"There is no model {model_id}.")
    if model_id == BUILT_IN.id:
        raise ModelInUse("The built-in model cannot be deleted.")
    users = [record.name for record in store.services() if record.model_id == model_id]
    if users or in_use:
        who = f"service {users[0]}" if users else "an unfinished operation"
        raise ModelInUse(f"The model is in use by {who}: update or delete that first.")
    store.save(without_model=model_id)
