"""Fail where an installed dependency is under the GPL or AGPL (the LGPL is allowed: it is linked, never changed)."""

from __future__ import annotations

import json
import re
import subprocess
import sys

BUILD_OR_TEST_ONLY = frozenset[str]()
"""Tools under the GPL that only build or test Ichor and that no user gets; each with its reason. None so far."""

COPYLEFT = re.compile(r"(?<![Ll])(?<!Lesser )(A?GPL\b|A?GPLv|GNU (Affero )?General Public)", re.IGNORECASE)
CHOICE = re.compile(r"\bOR\b|;")


def refused(licence: str) -> bool:
    """Say whether every licence offered is copyleft."""
    return all(COPYLEFT.search(offer) is not None for offer in CHOICE.split(licence) if offer.strip())


def main() -> int:
    """Print what is refused; 1 where there is any."""
    command = [sys.executable, "-m", "piplicenses", "--format=json", "--from=mixed"]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    bad = [
        package
        for package in packages
        if package["License"] and refused(package["License"]) and package["Name"].lower() not in BUILD_OR_TEST_ONLY
    ]
    for package in bad:
        sys.stderr.write(f"licence not allowed: {package['Name']} {package['Version']}: {package['License']}\n")
    sys.stdout.write(f"licences of {len(packages)} installed packages looked at, {len(bad)} refused\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
