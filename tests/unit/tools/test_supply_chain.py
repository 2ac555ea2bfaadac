"""requirements.lock: complete, hashed, and of the versions with which the tests run; and what an audit says."""

import json
import re
from collections.abc import Mapping
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tools import audit, lock

# The system that is deployed to, whatever this one is.
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"}
_ENTRY = re.compile(r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def locked() -> Mapping[str, tuple[str, int]]:
    """The version and the number of hashes of each locked package."""
    entries = _ENTRY.findall(lock.LOCK.read_text(encoding="utf-8"))
    return {canonicalize_name(name): (version, hashes.count("--hash=")) for name, version, hashes in entries}


def needed() -> set[str]:
    """The packages of requirements.txt and all that they need, by the metadata of the installed ones."""
    found: set[str] = set()
    waiting = requirements("requirements.txt")
    while waiting:
        one = waiting.pop()
        found.add(canonicalize_name(one.name))
        for text in requires(one.name) or ():
            next_one = Requirement(text)
            extras = one.extras or {""}
            applies = not next_one.marker or any(
                next_one.marker.evaluate({**LINUX, "extra": extra}) for extra in extras
            )
            if applies and canonicalize_name(next_one.name) not in found:
                waiting.append(next_one)
    return found


def test_the_lock_has_exactly_the_packages_that_the_requirements_need() -> None:
    assert set(locked()) == needed()


def test_the_locked_versions_satisfy_the_requirements() -> None:
    for requirement in requirements("requirements.txt"):
        version, _ = locked()[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_the_locked_versions_are_those_that_the_tests_run_with() -> None:
    constrained = {str(canonicalize_name(one.name)): str(one.specifier) for one in requirements("constraints.txt")}
    assert {name: f"=={version}" for name, (version, _) in locked().items()} == {
        name: constrained[name] for name in locked()
    }


def test_every_package_has_a_hash_for_each_machine() -> None:
    """One where the wheel is the same for all."""
    text = lock.LOCK.read_text(encoding="utf-8")
    assert {hashes for _, hashes in locked().values()} <= {1, len(lock.MACHINES)}
    assert locked()["grpcio"][1] == locked()["numpy"][1] == len(lock.MACHINES)
    assert text.count("==") == len(locked())
    assert "://" not in text


CLEAN = {"name": "a", "version": "1", "vulns": []}
FIXED = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
OPEN = {"name": "a", "version": "1", "vulns": [{"id": "CVE-2", "fix_versions": []}]}
UNKNOWN = {"name": "b", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("packages", "code", "text"),
    [
        ([CLEAN], audit.NONE, "No known vulnerabilities in 1 packages."),
        ([FIXED, UNKNOWN], audit.SOME, "a 1: CVE-1, fixed in 2"),
        ([OPEN], audit.SOME, "a 1: CVE-2, fixed in no version yet"),
        (
            [CLEAN, UNKNOWN],
            audit.NOT_CHECKED,
            "Not checked: the database that can be reached from here does not know b.",
        ),
        (None, audit.NOT_CHECKED, "Not checked: the database of vulnerabilities cannot be reached from here."),
    ],
)
def test_an_audit_without_an_answer_is_not_a_success(packages: object, code: int, text: str) -> None:
    report = "" if packages is None else json.dumps({"dependencies": packages, "fixes": []})

    assert audit.verdict(report) == (code, text)
