"""Looks for known vulnerabilities of the locked packages, with pip-audit: ``python -m tools.audit PATH_OF_PIP_AUDIT``.

pip-audit reports "no known vulnerabilities" where its database knew none of the packages or could not be reached. Here
that is a failure of its own: nothing was checked.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements.lock"

NONE, SOME, NOT_CHECKED = 0, 1, 2


def verdict(report: str) -> tuple[int, str]:
    """The exit code, and what to print, for pip-audit's JSON; empty where it failed."""
    try:
        packages = json.loads(report)["dependencies"]
    except (ValueError, LookupError, TypeError):
        return NOT_CHECKED, "Not checked: the database of vulnerabilities cannot be reached from here."
    found = list(_found(packages))
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if found:
        return SOME, "\n".join(found)
    if skipped:
        names = ", ".join(skipped)
        return NOT_CHECKED, f"Not checked: the database that can be reached from here does not know {names}."
    return NONE, f"No known vulnerabilities in {len(packages)} packages."


def _found(packages: list[dict[str, object]]) -> Iterator[str]:
    for package in packages:
        vulnerabilities = package.get("vulns")
        for one in vulnerabilities if isinstance(vulnerabilities, list) else ():
            fixed = ", ".join(one["fix_versions"]) or "no version yet"
            yield f"{package['name']} {package['version']}: {one['id']}, fixed in {fixed}"


def main(pip_audit: str) -> int:
    """Check, and print the result; returns the exit code."""
    command = [pip_audit, "--disable-pip", "--require-hashes", "-r", str(LOCK), "--format", "json"]
    done = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True, check=False)  # noqa: S603
    code, text = verdict(done.stdout)
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
