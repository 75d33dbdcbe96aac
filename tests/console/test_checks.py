"""The scripts behind `make check`."""

from __future__ import annotations

import pytest

from tests.check_licences import refused


@pytest.mark.parametrize(
    ("licence", "verdict"),
    [
        ("MIT License", False),
        ("LGPL-3.0-only", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("GPL-3.0-or-later", True),
        ("GNU General Public License v2 (GPLv2)", True),
        ("GNU Affero General Public License v3", True),
        ("AGPL-3.0", True),
        ("BSD-3-Clause OR GPL-2.0-only", False),
        ("GNU General Public License (GPL); MIT License", False),
        ("Apache-2.0 AND GPL-3.0-only", True),
    ],
)
def test_licences(licence: str, verdict: bool) -> None:  # noqa: FBT001 - a table of cases
    """The GPL and AGPL are refused, the LGPL and any free choice beside the GPL are not."""
    assert refused(licence) is verdict
