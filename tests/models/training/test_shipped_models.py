"""The models in the package: small, loud about what they are, made by the recipes beside the documentation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from console.evaluation.model_run import run_model
from console.evaluation.provenance import provenance_of
from ichor.errors import ModelError
from ichor.sections import WebhookChannel
from models.evaluation.evaluation import Evaluation, Question, evaluate
from models.evaluation.label_map import FOUR_CLASS, label_map_of
from models.networks.catalogue import build
from models.phantoms import write_phantom
from models.phantoms.benchmark import benchmark_studies
from models.registry import SHIPPED_SPECS, SHIPPED_WEIGHTS, Registry
from models.spec import load_spec
from models.training.checkpoint import Weights
from models.training.data.case import Case, DataSet
from models.training.data.catalogue import read_data
from models.training.data.licence import CC_BY, PAINTED, PHANTOM, inherited
from models.training.entry import write_entry
from models.training.manifest import Manifest
from models.training.recipe import Recipe, TrainingRecipe, load_recipe
from models.training.shipping import MOST_BYTES, ship
from models.training.spec import network_parameters, spec_of
from tests.models.training.manifests import manifest_of
from tests.models.training.small_heads import recipe_of

RECIPES = Path(__file__).resolve().parents[3] / "docs" / "shipped-models"
MODELS = ("phantom-demo", "phantom-subtypes")
VOLUME_ERRORS = {"phantom-demo": 0.10, "phantom-subtypes": 0.15}  # of the truth, at most, of a large bleed
SEEN = ("test-006", "test-008", "test-034")  # no blood, 22 mL outside the brain, 14 mL in it


@pytest.mark.parametrize("name", MODELS)
def test_it_is_small_and_says_what_it_is(name: str) -> None:
    """The shipped weights have at most 4 MB, spec and card belong to them, and both warn loudly."""
    spec = load_spec(SHIPPED_SPECS / f"{name}.json")
    card = (SHIPPED_WEIGHTS / f"{name}.md").read_text(encoding="utf-8")
    weights = SHIPPED_WEIGHTS / f"{name}.safetensors"
    assert weights.stat().st_size == spec.files[0].size_bytes <= MOST_BYTES
    assert spec.digest in card
    assert card.startswith(f"# {name}, version {spec.version}: NEVER FOR PATIENTS")
    assert spec.intended_use.startswith("NEVER FOR PATIENTS")
    assert spec.research_only
    assert "never for patients" in spec.title


def test_the_demo_marks_what_the_published_model_marks() -> None:
    """Whoever tries the node with it meets the labels of `blast-ct-v1`."""
    demo, blast = (load_spec(SHIPPED_SPECS / f"{name}.json") for name in ("phantom-demo", "blast-ct-v1"))
    assert demo.labels == blast.labels


@pytest.mark.parametrize("name", MODELS)
def test_its_recipe_makes_it(name: str) -> None:
    """The recipe beside the documentation makes the network, the labels and the input of the shipped model."""
    recipe = load_recipe(RECIPES / f"{name}.toml")
    shipped, made = load_spec(SHIPPED_SPECS / f"{name}.json"), spec_of(recipe, licence=PHANTOM)
    parameters = {key: value for key, value in shipped.parameters.items() if key != "proven_bfloat16"}
    assert parameters == made.parameters
    own = replace(made, name=shipped.name, version=shipped.version, title=shipped.title, files=shipped.files)
    assert replace(shipped, parameters=parameters) == own
    network = build(recipe.model.network, network_parameters(recipe))
    network.load_state_dict(load_file(SHIPPED_WEIGHTS / f"{name}.safetensors"))


@pytest.mark.parametrize("name", MODELS)
def test_it_says_what_it_has_met(name: str, tmp_path: Path) -> None:
    """The training part of the benchmark is no test for it, the other parts are."""
    cases = tuple(Case(name=one, patient=f"phantoms:{one}") for one in ("train-001", "test-006", "shifted-001"))
    data = DataSet(name="phantoms all", origin="phantoms", licence=PHANTOM, label_map=FOUR_CLASS, cases=cases)
    found = provenance_of(Registry(tmp_path).manifest(name), data, members=1)
    assert found is not None
    assert found.met == ("train-001",)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies of the benchmark that nobody was trained on."""
    folder = tmp_path_factory.mktemp("phantoms")
    for study in benchmark_studies():
        if study.name in SEEN:
            write_phantom(folder / study.name, study.plan)
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_it_finds_blood_in_phantoms(name: str, phantoms: Path, tmp_path: Path) -> None:
    """Seen as in service, large bleeds are marked nearly as they are; the demo alerts nobody where there is none."""
    segmenter = Registry(tmp_path / "models").load(name, device="cpu", threads=1)
    data = read_data(phantoms)
    question = Question(
        system=name, data=data.name, truth_map=FOUR_CLASS, answer_map=label_map_of(segmenter.spec)
    )  # fmt: skip
    evaluation: Evaluation = evaluate(run_model(data, segmenter, tmp_path), question)
    healthy, outside, within = (scan.any for scan in sorted(evaluation.scans, key=lambda scan: scan.name))
    assert healthy.truth_ml == 0
    if name == "phantom-demo":  # the other one, of less training, marks more where nothing is: docs/models.md
        assert healthy.answer_ml < WebhookChannel.model_fields["min_volume_ml"].default
    for scan in (outside, within):
        assert scan.dice is not None
        assert scan.dice >= 0.9
        assert scan.answer_ml == pytest.approx(scan.truth_ml, rel=VOLUME_ERRORS[name])


def untrained(recipe: Recipe) -> Weights:
    return build(recipe.model.network, network_parameters(recipe)).state_dict()


def test_a_trained_model_is_taken_into_the_package(tmp_path: Path) -> None:
    """Under its own name, verified, with a card of that name; several members, or damaged weights, are refused."""
    recipe = recipe_of(TrainingRecipe())
    entry = tmp_path / "entry"
    write_entry(entry, recipe, [untrained(recipe)], manifest_of(recipe))
    spec = ship(entry, "shown", "7", "Shown", proven_bfloat16=["cpu"], specs=tmp_path, weights=tmp_path)
    assert spec.parameters["proven_bfloat16"] == ["cpu"]
    assert (spec.name, spec.title) == ("shown", "Shown")
    assert (spec.version, [file.name for file in spec.files]) == ("7", ["shown.safetensors"])
    assert spec == load_spec(tmp_path / "shown.json")
    card = (tmp_path / "shown.md").read_text(encoding="utf-8")
    assert card.startswith("# shown, version 7: NEVER FOR PATIENTS")
    assert spec.digest in card
    manifest = Manifest.from_json((tmp_path / "shown.manifest.json").read_bytes())
    assert (manifest.name, manifest.version, manifest.recipe) == (
        "shown",
        "7",
        json.loads(json.dumps(recipe.to_plain())),
    )
    (entry / "member_1.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError):
        ship(entry, "shown", "8", "Shown", specs=tmp_path, weights=tmp_path)
    write_entry(entry, recipe, [untrained(recipe)] * 2, manifest_of(recipe))
    with pytest.raises(ModelError, match="one member"):
        ship(entry, "shown", "8", "Shown", specs=tmp_path, weights=tmp_path)


def test_what_saw_painted_heads_is_never_for_patients_and_said_to_have_seen_heads(tmp_path: Path) -> None:
    """Its bleeds were drawn, so it is no better than one of phantoms; but it has seen heads of people."""
    recipe = recipe_of(TrainingRecipe())
    for licence in (PAINTED, inherited((PHANTOM, PAINTED))):
        spec = write_entry(tmp_path / "entry", recipe, [untrained(recipe)], manifest_of(recipe, licence))
        card = (tmp_path / "entry" / "card.md").read_text(encoding="utf-8")
        for text in (spec.intended_use, card):
            assert "NEVER FOR PATIENTS" in text
            assert "never seen a human head" not in text


def test_only_what_saw_phantoms_alone_is_said_to_be_of_phantoms(tmp_path: Path) -> None:
    """A model that was trained on heads of people is for research; its card says that, and nothing of drawings."""
    recipe = recipe_of(TrainingRecipe())
    spec = write_entry(tmp_path / "entry", recipe, [untrained(recipe)], manifest_of(recipe, CC_BY))
    card = (tmp_path / "entry" / "card.md").read_text(encoding="utf-8")
    assert spec.intended_use.startswith("Research use only")
    assert "Research use only" in card
    assert "NEVER" not in card
    stated = json.loads((tmp_path / "entry" / "manifest.json").read_text(encoding="utf-8"))
    assert Manifest.from_json(json.dumps(stated)).licence == CC_BY
