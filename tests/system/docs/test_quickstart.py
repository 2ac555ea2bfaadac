"""docs/quickstart.ipynb works with a separate stack, and its committed outputs are current."""

import base64
import io
import json
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from PIL import Image

from tests.support import secrecy
from tests.support.devstack.running_services import RunningServices
from tests.support.devstack.stack_process import StackProcess
from tests.support.markdown import links
from tests.system.docs.notebooks import QUICKSTART, code, execute, printed, read, shape

COMMITTED = code(read(QUICKSTART))

# With these settings, a rotation takes a few seconds.
SHORT_INTERVALS = {"CREDENTIALS_REFRESH_SECONDS": "1", "ROTATION_GRACE_SECONDS": "1"}

# An event of the rotation that only occurs if the service has not loaded the certificate when the update ends.
OPTIONAL_EVENT = re.compile(r"^update-ended .*\n", re.MULTILINE)


# Without a representation, which failures would print: it has the services' keys.
@dataclass(repr=False)
class Run:
    """The executed notebook, and the state of the stack after each cell.

    ``services`` are those of the control plane after each cell, by name; ``models`` are the numbers of models.
    """

    stack: RunningServices
    notebook: NotebookNode
    served_before: str
    services: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)
    secrets: secrecy.Secrets = field(default_factory=secrecy.Secrets)

    def record(self, cell: str) -> None:
        """Record the state of the stack after a cell."""
        document = json.loads((self.stack.state / "control" / "services" / "control.json").read_text())
        self.services[cell] = {each["name"]: each for each in document["services"]}
        self.models[cell] = len(document["models"])
        found = secrecy.collect(self.stack.state)
        self.secrets.pieces |= found.pieces
        self.secrets.origins |= found.origins

    def own(self, cell: str) -> Mapping[str, Any]:
        """The notebook's service in the state of the control plane after a cell."""
        found: Mapping[str, Any] = self.services[cell]["quickstart"]
        return found

    def text(self, cell: str) -> str:
        return printed(code(self.notebook)[cell])

    def pictures(self, cell: str) -> list[npt.NDArray[np.uint8]]:
        """The images in a cell's outputs: ``[height, width, 3]``."""
        outputs = code(self.notebook)[cell].outputs
        files = (io.BytesIO(base64.b64decode(output.data["image/jpeg"])) for output in outputs)
        return [np.asarray(Image.open(file).convert("RGB")) for file in files]


def until(cell: str) -> NotebookNode:
    """The notebook up to a cell."""
    notebook = read(QUICKSTART)
    ids = [each.id for each in notebook.cells]
    notebook.cells = notebook.cells[: ids.index(cell) + 1]
    return notebook


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServices]:
    with StackProcess(tmp_path_factory.mktemp("quickstart") / "stack", environment=SHORT_INTERVALS) as running:
        yield RunningServices(running.until_serving())
        assert running.signal(signal.SIGTERM).wait_for_end() == 0


@pytest.fixture(scope="module")
def run(stack: RunningServices) -> Run:
    """A complete run of the notebook, after an incomplete one that has left a model and a service."""
    environment = {"DEVSTACK_STATE": str(stack.up.folder)}
    execute(until("deploy"), environment)
    done = Run(stack, read(QUICKSTART), stack.served)
    done.record("left behind")
    execute(done.notebook, environment, after=done.record)
    return done


# The outputs of the run.


def test_the_model_and_service_of_an_earlier_run_are_removed(run: Run) -> None:
    assert (set(run.services["left behind"]), run.models["left behind"]) == ({"imagenet", "quickstart"}, 1)
    assert (set(run.services["leftovers"]), run.models["leftovers"]) == ({"imagenet"}, 0)


def test_a_model_and_a_service_with_tls_are_created(run: Run) -> None:
    assert run.models["register"] == 1
    assert (run.own("deploy")["state"], run.own("deploy")["tls"]) == ("Succeeded", True)
    assert run.own("deploy")["model_id"] != run.services["deploy"]["imagenet"]["model_id"]
    assert run.text("deploy") == "quickstart: Succeeded, TLS, at 127.0.0.1\n"


def test_the_service_classifies_each_photograph(run: Run) -> None:
    rows = [re.split(r"  +", line) for line in run.text("grpc").splitlines()]

    assert [(name, group) for name, group, _ in rows] == [
        ("coffee", "food or drink"),
        ("chelsea", "animal"),
        ("rocket", "thing"),
    ]
    assert all(float(score.rstrip("%")) > 85 for *_, score in rows)


def test_the_gateway_labels_each_photograph(run: Run) -> None:
    coffee, chelsea, rocket = (text.splitlines() for text in _texts(run, "rest"))

    assert coffee[0].split() == ["espresso", "95.1%"]
    assert {line.rsplit(maxsplit=1)[0] for line in chelsea[:3]} == {"tiger cat", "Egyptian cat", "tabby"}
    assert rocket[0].startswith("missile ")
    assert {len(coffee), len(chelsea), len(rocket)} == {5}


@pytest.mark.parametrize("cell", ["card", "rest"])
def test_photographs_are_shown_with_a_chart_of_their_scores(run: Run, cell: str) -> None:
    pictures = run.pictures(cell)

    assert [picture.shape for picture in pictures] == [(220, 680, 3)] * 3
    for picture in pictures:
        photograph, labels = picture[:, :220], picture[:, 240:]
        assert len(np.unique(photograph.reshape(-1, 3), axis=0)) > 1000
        # To the right, on white, the bars show the scores.
        red, blue = labels[..., 0].astype(int), labels[..., 2].astype(int)
        assert (blue - red > 80).sum(axis=1).max() > 50
        assert (labels.min(axis=-1) > 240).mean() > 0.5


def test_a_wrong_key_and_a_wrong_pin_have_different_errors(run: Run) -> None:
    valid, key, certificate = run.text("strangers").splitlines()

    assert valid.endswith(": scored.")
    assert "TokenRefused" in key
    assert "Untrusted" in certificate


def test_after_a_manual_change_of_the_certificate_the_old_pin_fails(run: Run) -> None:
    old, new = run.text("by-hand").splitlines()

    assert run.own("by-hand")["chain"] != run.own("deploy")["chain"]
    assert "Untrusted" in old
    assert new.endswith(": scored.")


def test_the_rotation_changes_the_served_certificate_and_no_request_fails(run: Run) -> None:
    served = run.stack.served

    assert served != run.served_before
    assert (run.stack.desired, run.stack.pinned) == (served, [served])
    assert run.text("vault") == f"Served:    {run.served_before[:16]}\nKey Vault: {served[:16]}\n"
    *ends, counted = run.text("rotated").splitlines()
    assert ends == [f"Served now: {served[:16]}", f"Pinned now: {served[:16]}"]
    scored, failed = map(int, re.findall(r"\d+", counted))
    assert (scored > 0, failed) == (True, 0)


def test_the_steps_of_the_rotation_are_printed_in_order(run: Run) -> None:
    printed_events = OPTIONAL_EVENT.sub("", run.text("rotate"))

    assert [line.split()[0] for line in printed_events.splitlines()] == [
        *("pin-added", "update-sent", "certificate-rotated", "old-pins-dropped"),
    ]


def test_one_key_is_regenerated_and_the_other_is_still_accepted(run: Run) -> None:
    before, after = run.own("rotated"), run.own("regenerate")
    changed = {kind for kind in ("primary_key", "secondary_key") if after[kind] != before[kind]}
    old, secondary, new = run.text("regenerate").splitlines()

    assert changed == {"primary_key"}
    assert "TokenRefused" in old
    assert secondary.endswith(": scored.")
    assert new.endswith(": scored.")


def test_the_model_and_the_service_are_deleted_at_the_end(run: Run) -> None:
    assert (set(run.services["delete"]), run.models["delete"]) == ({"imagenet"}, 0)
    assert "Unreachable" in run.text("delete")


@pytest.mark.parametrize("folder", ["no stack", "a stack that was killed"])
def test_without_a_stack_the_output_has_the_command_to_start_one(tmp_path: Path, folder: str) -> None:
    if folder == "a stack that was killed":
        parts = dict.fromkeys(("identity", "vault", "fpga", "control", "host"), "http://127.0.0.1:9")
        (tmp_path / "addresses.json").write_text(json.dumps(parts))
    notebook = until("sign-in")

    with pytest.raises(CellExecutionError):
        execute(notebook, {"DEVSTACK_STATE": str(tmp_path)})

    cells = code(notebook)
    assert printed(cells["stack"]) == (
        "No gateway runs here: start the stack with `make run` in another terminal, and run this cell again."
    )
    assert cells["sign-in"].outputs == []


# The committed file.


@pytest.mark.parametrize("cell", COMMITTED)
def test_the_committed_outputs_are_current(run: Run, cell: str) -> None:
    committed, current = ([*map(_comparable, shape(cells[cell]))] for cells in (COMMITTED, code(run.notebook)))

    assert committed == current, "update them with `python -m tests.system.docs.notebooks` and a running stack"


def test_the_cells_in_the_file_were_run_in_order() -> None:
    assert [cell.execution_count for cell in COMMITTED.values()] == list(range(1, len(COMMITTED) + 1))


def test_no_secret_is_in_the_outputs(run: Run) -> None:
    kinds = ["primary_key in", "secondary_key in", "the private key in key in"]
    own, searched = run.own("deploy"), secrecy.Secrets()
    searched.add(own["primary_key"], "a key")
    searched.add(own["key"], "a key")

    assert [kind for kind in kinds if not any(kind in origin for origin in run.secrets.origins)] == []
    assert len(searched.pieces.keys() - run.secrets.pieces.keys()) == 0, "the notebook's service was not recorded"
    assert [origin for _, origin in run.secrets.find(json.dumps(run.notebook).encode())] == []
    assert [origin for _, origin in secrecy.Secrets().find(QUICKSTART.read_bytes())] == []


def test_the_file_has_no_paths_addresses_or_times() -> None:
    text = "\n".join(map(printed, COMMITTED.values()))

    assert re.findall(r"(?:/[\w.-]+){2,}|\blocalhost\b|127\.0\.0\.1:\d+|\d\d:\d\d|\b20\d\d\b", text) == []
    assert QUICKSTART.stat().st_size < 300_000


def test_links_have_targets() -> None:
    text = "\n".join(cell.source for cell in read(QUICKSTART).cells if cell.cell_type == "markdown")
    targets = links(text)

    assert targets
    assert [link for link in targets if not (QUICKSTART.parent / link).is_file()] == []


def _texts(run: Run, cell: str) -> list[str]:
    return [str(output.data["text/plain"]) for output in code(run.notebook)[cell].outputs]


def _comparable(output: tuple[str, list[str], str]) -> tuple[str, list[str], str]:
    kind, contents, text = output
    return kind, contents, OPTIONAL_EVENT.sub("", text)
