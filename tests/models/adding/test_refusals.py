"""What is not a model, or more than one, is refused in one sentence; nothing in it is run, and nothing of it stays."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ichor.errors import ModelCorrupted, ModelError
from models.adding.install import Consent, add_model
from models.adding.package import ModelRefused
from models.registry import Registry
from models.spec import ModelSpecInvalid
from models.trust import ModelNotTrusted
from tests.models.adding.families import Trained, small_network, write_bundle

Change = Callable[[dict[str, Any]], None]


class _Marker:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """An empty models folder."""
    return Registry(tmp_path / "models")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """An untrained bundle that is fine."""
    torch.manual_seed(1)
    return write_bundle(tmp_path / "head", Trained(state=small_network(6).state_dict()))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What a malicious file would make."""
    return tmp_path / "marker"


def _inference(bundle: Path, change: Change) -> None:
    path = bundle / "configs" / "inference.json"
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


def _refused(
    registry: Registry, path: Path, kind: type[ModelError], words: str, consent: Consent | None = None
) -> None:
    with pytest.raises(kind, match=words) as caught:
        add_model(registry, path, consent=consent)
    assert "\n" not in str(caught.value)
    assert list(registry.models_dir.iterdir()) == []


def test_a_malicious_pickle_in_a_bundle(registry: Registry, bundle: Path, marker: Path) -> None:
    """Weights that are code are refused, and the code does not run."""
    (bundle / "models" / "model.pt").write_bytes(pickle.dumps(_Marker(marker)))
    _refused(registry, bundle, ModelRefused, "nothing in it was run")
    torch.save({"state_dict": _Marker(marker)}, bundle / "models" / "model.pt")
    _refused(registry, bundle, ModelRefused, "nothing in it was run")
    assert not marker.exists()


def test_a_malicious_checkpoint_in_an_nnunet_folder(registry: Registry, tmp_path: Path, marker: Path) -> None:
    """The same for a fold's checkpoint."""
    kept = Path(__file__).parent / "nnunet" / "plain"
    folder = tmp_path / "result"
    (folder / "fold_0").mkdir(parents=True)
    for name in ("plans.json", "dataset.json"):
        (folder / name).write_bytes((kept / name).read_bytes())
    torch.save({"network_weights": _Marker(marker)}, folder / "fold_0" / "checkpoint_final.pth")
    _refused(registry, folder, ModelRefused, "nothing in it was run")
    assert not marker.exists()


@pytest.mark.parametrize(
    "where",
    [
        lambda plain, code: plain["network_def"].update(channels=code),
        lambda plain, code: plain["inferer"].update(overlap=code),
        lambda plain, code: plain["preprocessing"]["transforms"].insert(0, code),
        lambda plain, code: plain["postprocessing"]["transforms"][0].update(_disabled_=code),
        lambda plain, code: plain.update(initialize=[" " + code]),
        lambda plain, code: plain.update(network_def=code),
    ],
)
def test_an_expression_in_a_bundle(
    registry: Registry, bundle: Path, marker: Path, where: Callable[[dict[str, Any], str], None]
) -> None:
    """An expression anywhere is code: refused, not run."""
    _inference(bundle, lambda plain: where(plain, f"$__import__('os').mkdir({str(marker)!r})"))
    _refused(registry, bundle, ModelRefused, "expression")
    assert not marker.exists()


def test_expressions_that_are_not_needed_may_be_left_out(registry: Registry, bundle: Path, marker: Path) -> None:
    """With consent a bundle's sections that are not read may hold expressions; those that are read may not."""
    code = f"$__import__('os').mkdir({str(marker)!r})"
    _inference(bundle, lambda plain: plain.update(imports=[code], device=code))
    consent = Consent(drop_expressions=True)
    assert add_model(registry, bundle, name="fine", consent=consent).name == "fine"
    _inference(bundle, lambda plain: plain["inferer"].update(overlap=code))
    with pytest.raises(ModelRefused, match="expression"):
        add_model(registry, bundle, name="not-fine", consent=consent)
    assert not marker.exists()
    assert registry.names().count("fine") == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda plain: plain["network_def"].update(_target_="os.system"), "not on the list"),
        (lambda plain: plain["network_def"].update(_target_="evil.nets.UNet"), "not on the list"),
        (lambda plain: plain["network_def"].update(_mode_="callable"), "_mode_"),
        (lambda plain: plain["network_def"].update(act={"_target_": "os.system"}), "only plain values"),
        (lambda plain: plain["network_def"].update(channels=[6, 10, 10**9]), "cannot be built|parameters"),
        (lambda plain: plain["network_def"].update(colour="red"), "cannot be built"),
        (lambda plain: plain["inferer"].update(roi_size=[64, 0, 8]), "window"),
        (lambda plain: plain["inferer"].update(roi_size=[63, 61, 7]), "cannot take windows of 63 x 61 x 7"),
        (lambda plain: plain["inferer"].update(_target_="SaliencyInferer"), "SlidingWindowInferer"),
        (lambda plain: plain["preprocessing"]["transforms"].append({"_target_": "Lambdad"}), "Lambdad"),
        (lambda plain: plain["preprocessing"]["transforms"].pop(3), "Spacingd"),
        (lambda plain: plain["postprocessing"]["transforms"].append({"_target_": "FillHolesd"}), "FillHolesd"),
        (lambda plain: plain.update(network_def="@other"), "not there"),
        (lambda plain: plain.update(network_def="@network_def"), "refers to itself"),
    ],
)
def test_what_a_bundle_may_not_say(registry: Registry, bundle: Path, change: Change, words: str) -> None:
    """Networks off the list, impossible windows, and steps that would make other labels."""
    _inference(bundle, change)
    _refused(registry, bundle, ModelError, words)


def test_an_unknown_label(registry: Registry, bundle: Path) -> None:
    """A name that nobody has coded is refused; ichor.json may say what it is."""
    path = bundle / "configs" / "metadata.json"
    path.write_text(path.read_text().replace("extra-axial", "blob"))
    _refused(registry, bundle, ModelSpecInvalid, "'blob' is not known")
    (bundle / "ichor.json").write_text(json.dumps({"labels": {"2": "SDH"}, "version": "7"}))
    spec = add_model(registry, bundle)
    assert [(label.name, label.haemorrhage) for label in spec.labels] == [("IPH", True), ("SDH", True)]
    assert spec.version == "7"


def test_a_description_with_faults(registry: Registry, bundle: Path) -> None:
    """A misspelt key in ichor.json is named."""
    (bundle / "ichor.json").write_text(json.dumps({"lables": {}}))
    _refused(registry, bundle, ModelRefused, "lables")


def test_damaged_weights(registry: Registry, bundle: Path) -> None:
    """A cut file, and one of another network, are refused as damaged or as not fitting."""
    path = bundle / "models" / "model.pt"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    _refused(registry, bundle, ModelCorrupted, r"model\.pt")
    torch.save({"weight": torch.ones(3)}, path)
    _refused(registry, bundle, ModelCorrupted, "does not hold the weights")


def test_a_program_that_nobody_trusts(registry: Registry, tmp_path: Path, marker: Path) -> None:
    """A .pt2 is not even opened; a malicious one that was trusted by mistake for another is refused by its hash."""
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "model.pt2").write_bytes(pickle.dumps(_Marker(marker)))
    description = {"labels": {"1": "IPH"}, "spacing_zyx_mm": [5.0, 1.0, 1.0], "hu_window": [0.0, 100.0]}
    (folder / "ichor.json").write_text(json.dumps(description))
    _refused(registry, folder, ModelNotTrusted, "--trust-code")
    assert not marker.exists()


def test_a_spec_laid_beside_a_program_by_hand(
    registry: Registry, tmp_path: Path, marker: Path, blast_json: Any
) -> None:
    """A model.json of the family export in the models folder does not stand for anybody's trust."""
    folder = registry.models_dir / "sly"
    folder.mkdir(parents=True)
    content = pickle.dumps(_Marker(marker))
    (folder / "program.pt2").write_bytes(content)
    file = {"name": "program.pt2", "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    blast_json.update(name="sly", family="export", files=[file], parameters={"window": [16, 16, 16]})
    (folder / "model.json").write_text(json.dumps(blast_json))
    with pytest.raises(ModelNotTrusted, match="--trust-code"):
        registry.load("sly", device="cpu")
    assert not marker.exists()
    assert tmp_path.exists()


def test_a_wrong_hash_in_a_model_that_is_handed_on(registry: Registry, tmp_path: Path, bundle: Path) -> None:
    """A folder with model.json whose file is another than its spec says is refused, and so is an impossible patch."""
    add_model(registry, bundle, name="mine")
    taken = registry.models_dir / "mine"
    handed_on = tmp_path / "handed-on"
    taken.rename(handed_on)
    plain = json.loads((handed_on / "model.json").read_text())
    content = (handed_on / "member_1.safetensors").read_bytes()
    save_file({"weight": torch.ones(3)}, handed_on / "member_1.safetensors")
    _refused(registry, handed_on, ModelCorrupted, "SHA-256")
    (handed_on / "member_1.safetensors").write_bytes(content)
    plain["parameters"]["window"] = [16, 32, 4096]
    (handed_on / "model.json").write_text(json.dumps(plain))
    _refused(registry, handed_on, ModelError, "parameter window must be three whole numbers")


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a\\b.txt"])
def test_a_zip_that_leads_out_of_itself(registry: Registry, tmp_path: Path, name: str) -> None:
    """Nothing is written beside the scratch folder."""
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "x")
    _refused(registry, path, ModelRefused, "leads out of it")
    assert not (tmp_path / "out.txt").exists()


def test_what_is_no_model(registry: Registry, tmp_path: Path) -> None:
    """An empty folder, a text file, a lone program, nothing at all."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "letter.zip").write_text("Dear colleague")
    (tmp_path / "model.pt2").write_bytes(b"x")
    for name, words in (
        ("empty", "no model that is known"),
        ("letter.zip", "not a zip"),
        ("model.pt2", r"ichor\.json"),
        ("nothing", "There is no"),
    ):
        _refused(registry, tmp_path / name, ModelRefused, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda plain: plain["patch_size"].__setitem__(0, 13), "impossible"),
        (lambda plain: plain["normalization_schemes"].__setitem__(0, "ZScoreNormalization"), "CTNormalization"),
        (lambda plain: plain.update(preprocessor_name="Evil"), "Evil"),
        (lambda plain: plain.update(previous_stage="3d_lowres"), "cascade"),
        (lambda plain: plain.update(spacing=[1.0, 1.0]), "three numbers"),
        (lambda plain: plain["architecture"].update(network_class_name="os.system"), "none of PlainConvUNet"),
        (lambda plain: plain["architecture"]["arch_kwargs"].update(norm_op="os.system"), "norm_op"),
        (lambda plain: plain["architecture"]["arch_kwargs"].update(features_per_stage=[4, 8, 10**9]), "features"),
    ],
)
def test_what_a_plan_may_not_say(registry: Registry, tmp_path: Path, change: Change, words: str) -> None:
    """Patches that the network cannot take, and steps that would make other labels."""
    kept = Path(__file__).parent / "nnunet" / "plain"
    folder = tmp_path / "result"
    (folder / "fold_0").mkdir(parents=True)
    plain = json.loads((kept / "plans.json").read_text())
    change(plain["configurations"]["3d_base"])
    (folder / "plans.json").write_text(json.dumps(plain))
    (folder / "dataset.json").write_bytes((kept / "dataset.json").read_bytes())
    checkpoint = Path("fold_0") / "checkpoint_final.pth"
    (folder / checkpoint).write_bytes((kept / checkpoint).read_bytes())
    _refused(registry, folder, ModelError, words)
