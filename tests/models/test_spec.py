"""Specs are read strictly, and their digest stands for what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.registry import SHIPPED_SPECS
from models.spec import ModelSpecInvalid, load_spec

Spec = dict[str, Any]


def _write(tmp_path: Path, plain: Spec) -> Path:
    path = tmp_path / "model.json"
    path.write_text(json.dumps(plain))
    return path


def test_blast_ct_v1_says_what_was_published() -> None:
    """Twelve members at 1 mm, four labels, of which IPH, EAH and IVH are haemorrhage, for research only."""
    spec = load_spec(SHIPPED_SPECS / "blast-ct-v1.json")
    assert spec.members == tuple(range(1, 13))
    assert spec.spacing_zyx_mm == (1.0, 1.0, 1.0)
    assert spec.hu_window == (-15.0, 100.0)
    assert [label.name for label in spec.labels] == ["IPH", "EAH", "oedema", "IVH"]
    assert [label.name for label in spec.haemorrhage_labels] == ["IPH", "EAH", "IVH"]
    assert spec.research_only
    assert spec.label("IPH").finding.value == "274100004"
    assert spec.label("oedema").segment_type.value == "79654002"
    assert all(file.url.startswith("https://github.com/biomedia-mira/blast-ct/raw/v0.1.1/") for file in spec.files)


def test_only_the_whole_set_and_recorded_subsets_are_validated(tmp_path: Path, blast_json: Spec) -> None:
    """A subset may raise an alert only where the spec records it."""
    blast_json["validated_subsets"] = [[1, 2, 3]]
    spec = load_spec(_write(tmp_path, blast_json))
    assert spec.is_validated(spec.members)
    assert spec.is_validated((1, 2, 3))
    assert not spec.is_validated((1, 2))


def test_the_digest_follows_the_content_not_the_layout(tmp_path: Path, blast_json: Spec) -> None:
    """Reordered keys give the same digest, another value another."""
    first = load_spec(SHIPPED_SPECS / "blast-ct-v1.json").digest
    assert load_spec(_write(tmp_path, dict(reversed(blast_json.items())))).digest == first
    blast_json["hu_window"] = [-15.0, 101.0]
    assert load_spec(_write(tmp_path, blast_json)).digest != first
    assert first.startswith("sha256:")
    assert len(first) == 71


def _unknown_key(plain: Spec) -> None:
    plain["patch"] = 3


def _unknown_family(plain: Spec) -> None:
    plain["family"] = "pickle"


def _text_for_number(plain: Spec) -> None:
    plain["labels"][0]["index"] = "1"


def _gap_in_labels(plain: Spec) -> None:
    del plain["labels"][1]


def _doubled_label(plain: Spec) -> None:
    plain["labels"][1]["name"] = "IPH"


def _path_as_file(plain: Spec) -> None:
    plain["files"][0]["name"] = "../model_1.pt"


def _short_sha256(plain: Spec) -> None:
    plain["files"][0]["sha256"] = "00"


def _plain_http(plain: Spec) -> None:
    plain["files"][0]["url"] = "http://example.org/model_1.pt"


def _impossible_subset(plain: Spec) -> None:
    plain["validated_subsets"] = [[1, 13]]


def _inverted_window(plain: Spec) -> None:
    plain["hu_window"] = [100.0, -15.0]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_unknown_key, "patch"),
        (_unknown_family, "family"),
        (_text_for_number, "labels.0.index"),
        (_gap_in_labels, "count up from 1"),
        (_doubled_label, "label names must be unique"),
        (_path_as_file, "files.0.name"),
        (_short_sha256, "files.0.sha256"),
        (_plain_http, "must be https"),
        (_impossible_subset, "validated subset"),
        (_inverted_window, "hu_window"),
    ],
)
def test_a_faulty_spec_is_refused_by_name_of_the_fault(
    tmp_path: Path, blast_json: Spec, damage: Callable[[Spec], None], said: str
) -> None:
    """Every fault raises ModelSpecInvalid, and the message names it."""
    damage(blast_json)
    with pytest.raises(ModelSpecInvalid, match=said):
        load_spec(_write(tmp_path, blast_json))


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    """Broken JSON and a missing file are ModelSpecInvalid too."""
    path = tmp_path / "model.json"
    path.write_text("{")
    with pytest.raises(ModelSpecInvalid, match="not valid"):
        load_spec(path)
    with pytest.raises(ModelSpecInvalid, match="cannot be read"):
        load_spec(tmp_path / "absent.json")
