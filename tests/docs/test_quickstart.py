"""docs/quickstart.ipynb does what it says, on a stack of its own, and its outputs in the file are those of today."""

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

from tests import secrecy
from tests.devstack.certifying import Stack
from tests.devstack.stacks import Up
from tests.docs.notebooks import QUICKSTART, code, execute, printed, read, shape

COMMITTED = code(read(QUICKSTART))

# Gateways that read the pins every second, and a grace time as short, make a rotation a matter of seconds.
QUICK = {"CREDENTIALS_REFRESH_SECONDS": "1", "ROTATION_GRACE_SECONDS": "1"}

# An event of the rotation that is there only where the service takes its time to serve what it was given.
IN_PASSING = re.compile(r"^update-ended .*\n", re.MULTILINE)


# Shown by no failure: it holds the services' keys.
@dataclass(repr=False)
class Run:
    """The notebook's cells with what they put out, and what was seen of the stack meanwhile, by other eyes.

    ``services`` are those of the control plane after each cell, by their names; ``models`` the number of models then.
    """

    stack: Stack
    notebook: NotebookNode
    served_before: str
    services: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)
    secrets: secrecy.Secrets = field(default_factory=secrecy.Secrets)

    def look(self, cell: str) -> None:
        """See what there is after a cell."""
        document = json.loads((self.stack.state / "control" / "services" / "control.json").read_text())
        self.services[cell] = {each["name"]: each for each in document["services"]}
        self.models[cell] = len(document["models"])
        found = secrecy.collect(self.stack.state)
        self.secrets.pieces |= found.pieces
        self.secrets.origins |= found.origins

    def own(self, cell: str) -> Mapping[str, Any]:
        """The notebook's own service after a cell, as the control plane keeps it."""
        found: Mapping[str, Any] = self.services[cell]["quickstart"]
        return found

    def text(self, cell: str) -> str:
        return printed(code(self.notebook)[cell])

    def pictures(self, cell: str) -> list[npt.NDArray[np.uint8]]:
        """The pictures that a cell shows: ``[height, width, 3]``."""
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
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Up(tmp_path_factory.mktemp("quickstart") / "stack", environment=QUICK) as running:
        yield Stack(running.until_serving())
        assert running.signal(signal.SIGTERM).ended() == 0


@pytest.fixture(scope="module")
def run(stack: Stack) -> Run:
    """All of the notebook, after a reader who gave up in the middle and left a model and a service behind."""
    environment = {"DEVSTACK_STATE": str(stack.up.folder)}
    execute(until("deploy"), environment)
    done = Run(stack, read(QUICKSTART), stack.served)
    done.look("left behind")
    execute(done.notebook, environment, after=done.look)
    return done


# What a reader sees.


def test_what_an_earlier_run_left_behind_is_removed(run: Run) -> None:
    assert (set(run.services["left behind"]), run.models["left behind"]) == ({"imagenet", "quickstart"}, 1)
    assert (set(run.services["leftovers"]), run.models["leftovers"]) == ({"imagenet"}, 0)


def test_a_model_and_a_service_with_tls_come_into_being(run: Run) -> None:
    assert run.models["register"] == 1
    assert (run.own("deploy")["state"], run.own("deploy")["tls"]) == ("Succeeded", True)
    assert run.own("deploy")["model_id"] != run.services["deploy"]["imagenet"]["model_id"]
    assert run.text("deploy") == "quickstart: Succeeded, TLS, at 127.0.0.1\n"


def test_the_models_own_groups_are_told_of_each_photograph_by_grpc(run: Run) -> None:
    told = [re.split(r"  +", line) for line in run.text("grpc").splitlines()]

    assert [(name, group) for name, group, _ in told] == [
        ("coffee", "food or drink"),
        ("chelsea", "animal"),
        ("rocket", "thing"),
    ]
    assert all(float(score.rstrip("%")) > 85 for *_, score in told)


def test_the_gateways_labels_are_told_of_each_photograph_by_rest(run: Run) -> None:
    coffee, chelsea, rocket = (printed_one.splitlines() for printed_one in _each(run, "rest"))

    assert coffee[0].split() == ["espresso", "95.1%"]
    assert {line.rsplit(maxsplit=1)[0] for line in chelsea[:3]} == {"tiger cat", "Egyptian cat", "tabby"}
    assert rocket[0].startswith("missile ")
    assert {len(coffee), len(chelsea), len(rocket)} == {5}


@pytest.mark.parametrize("cell", ["card", "rest"])
def test_pictures_are_shown_beside_their_labels(run: Run, cell: str) -> None:
    pictures = run.pictures(cell)

    assert [picture.shape for picture in pictures] == [(220, 680, 3)] * 3
    for picture in pictures:
        photograph, labels = picture[:, :220], picture[:, 240:]
        assert len(np.unique(photograph.reshape(-1, 3), axis=0)) > 1000
        # Beside it, on white, the longest bar is as wide as the best label's score is high.
        red, blue = labels[..., 0].astype(int), labels[..., 2].astype(int)
        assert (blue - red > 80).sum(axis=1).max() > 50
        assert (labels.min(axis=-1) > 240).mean() > 0.5


def test_a_wrong_key_and_a_wrong_certificate_are_refused_by_name(run: Run) -> None:
    sound, key, certificate = run.text("strangers").splitlines()

    assert sound.endswith(": scored.")
    assert "TokenRefused" in key
    assert "Untrusted" in certificate


def test_a_certificate_that_changes_by_hand_shuts_out_who_pinned_the_old_one(run: Run) -> None:
    old, new = run.text("by-hand").splitlines()

    assert run.own("by-hand")["chain"] != run.own("deploy")["chain"]
    assert "Untrusted" in old
    assert new.endswith(": scored.")


def test_the_rotation_changes_what_is_served_and_loses_no_request(run: Run) -> None:
    served = run.stack.served

    assert served != run.served_before
    assert (run.stack.desired, run.stack.pinned) == (served, [served])
    assert run.text("vault") == f"Served:    {run.served_before[:16]}\nKey Vault: {served[:16]}\n"
    *ends, counted = run.text("rotated").splitlines()
    assert ends == [f"Served now: {served[:16]}", f"Pinned now: {served[:16]}"]
    scored, failed = map(int, re.findall(r"\d+", counted))
    assert (scored > 0, failed) == (True, 0)


def test_the_rotations_steps_are_told_in_their_order(run: Run) -> None:
    told = IN_PASSING.sub("", run.text("rotate"))

    assert [line.split()[0] for line in told.splitlines()] == [
        *("pin-added", "update-sent", "certificate-rotated", "old-pins-dropped"),
    ]


def test_one_key_changes_and_the_other_stays(run: Run) -> None:
    before, after = run.own("rotated"), run.own("regenerate")
    changed = {kind for kind in ("primary_key", "secondary_key") if after[kind] != before[kind]}
    old, secondary, new = run.text("regenerate").splitlines()

    assert changed == {"primary_key"}
    assert "TokenRefused" in old
    assert secondary.endswith(": scored.")
    assert new.endswith(": scored.")


def test_nothing_is_left_at_the_end(run: Run) -> None:
    assert (set(run.services["delete"]), run.models["delete"]) == ({"imagenet"}, 0)
    assert "Unreachable" in run.text("delete")


@pytest.mark.parametrize("folder", ["no stack", "a stack that was killed"])
def test_without_a_stack_one_sentence_says_how_to_start_one(tmp_path: Path, folder: str) -> None:
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


# What is in the file.


@pytest.mark.parametrize("cell", COMMITTED)
def test_the_outputs_in_the_file_are_those_of_today(run: Run, cell: str) -> None:
    committed, today = ([*map(_settled, shape(cells[cell]))] for cells in (COMMITTED, code(run.notebook)))

    assert committed == today, "run `python -m tests.docs.notebooks` on a running stack, which renews them"


def test_the_cells_in_the_file_were_run_in_their_order() -> None:
    assert [cell.execution_count for cell in COMMITTED.values()] == list(range(1, len(COMMITTED) + 1))


def test_no_secret_is_in_the_outputs(run: Run) -> None:
    kinds = ["the primary_key of a service", "the secondary_key of a service", "the private key of a service"]
    own, searched = run.own("deploy"), secrecy.Secrets()
    searched.add(own["primary_key"], "a key")
    searched.add_private_key(own["key"].encode(), "a private key")

    assert [kind for kind in kinds if not any(kind in origin for origin in run.secrets.origins)] == []
    assert len(searched.pieces.keys() - run.secrets.pieces.keys()) == 0, "the notebook's own service was not looked at"
    assert [origin for _, origin in run.secrets.find(json.dumps(run.notebook).encode())] == []
    assert [origin for _, origin in secrecy.Secrets().find(QUICKSTART.read_bytes())] == []


def test_the_file_tells_nothing_of_the_machine_it_was_run_on() -> None:
    text = "\n".join(map(printed, COMMITTED.values()))

    assert re.findall(r"(?:/[\w.-]+){2,}|\blocalhost\b|127\.0\.0\.1:\d+|\d\d:\d\d|\b20\d\d\b", text) == []
    assert QUICKSTART.stat().st_size < 300_000


def test_links_lead_to_pages() -> None:
    words = "\n".join(cell.source for cell in read(QUICKSTART).cells if cell.cell_type == "markdown")
    linked = re.findall(r"\]\(([^)]+)\)", words)

    assert linked
    assert [link for link in linked if not (QUICKSTART.parent / link).is_file()] == []


def _each(run: Run, cell: str) -> list[str]:
    return [str(output.data["text/plain"]) for output in code(run.notebook)[cell].outputs]


def _settled(output: tuple[str, list[str], str]) -> tuple[str, list[str], str]:
    kind, contents, text = output
    return kind, contents, IN_PASSING.sub("", text)
