"""DeepMedic gives the original's numbers, folded or not, however a head is cut into windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from ichor.errors import ModelCorrupted, ModelError
from models.engines.borderline import MARGIN, borderline
from models.engines.deepmedic import DeepMedicSegmenter, Member, load_deepmedic
from models.engines.folded import FoldedDeepMedic, fold
from models.engines.rows import WantedRows
from models.networks.deepmedic import Architecture, DeepMedic
from models.registry import SHIPPED_SPECS
from models.segmenter import HeadGrid
from models.spec import ModelSpec, load_spec
from tests.scarcity import little_memory

CPU = torch.device("cpu")
SMALL = Architecture(
    scale_factors=(5, 3, 1), path_channels=(6, 6, 8, 8, 8, 8, 10, 10), fused_channels=(20, 20), classes=5
)


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    """The shipped spec."""
    return load_spec(SHIPPED_SPECS / "blast-ct-v1.json")


def _small_network(seed: int) -> DeepMedic:
    """A small network with random weights, dead channels and scales of both signs.

    Its statistics are those of a head, so that its answer differs from voxel to voxel as a trained one's does.
    """
    torch.manual_seed(seed)
    network = DeepMedic(SMALL)
    with torch.no_grad():
        for name, values in network.named_parameters():
            if name.endswith("conv.weight"):
                torch.nn.init.kaiming_normal_(values, a=-0.3)
            elif name.endswith(("bn.weight", "bn.bias")):
                values.normal_(0, 0.7)
            elif name.endswith("prelu.weight"):
                values.fill_(-0.3)
        for path in network.paths:
            blocks = path.blocks
            for dead in (blocks[6], blocks[7], blocks[2]):
                dead.conv.weight[::2] = 1e-38
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.momentum = 1.0
        network.train()(_scaled(_head((95, 95, 95)).hu_zyx))
        for name, statistics in network.named_buffers():
            if name.endswith("running_var"):
                statistics.clamp_(min=0.01)  # of the dead channels
    return network.eval()


def _segmenter(spec: ModelSpec, networks: list[FoldedDeepMedic], *, window_voxels: int) -> DeepMedicSegmenter:
    members = tuple(range(1, len(networks) + 1))
    return DeepMedicSegmenter(
        spec,
        [Member(network=network) for network in networks],
        members=members,
        precision="float32",
        device=CPU,
        window_voxels=window_voxels,
    )


def _head(shape: tuple[int, int, int] = (50, 62, 57)) -> HeadGrid:
    hu = np.random.default_rng(2).normal(40, 25, shape).astype(np.float32)
    scanned = np.ones(shape, dtype=bool)
    scanned[:4] = False
    hu[:4] = -1024.0
    return HeadGrid(hu_zyx=hu, spacing_zyx_mm=(1.0, 1.0, 1.0), scanned_zyx=scanned)


def _scaled(hu: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy((2 * np.clip(hu.astype(np.float32), -15, 100) - 85) / 115)[None, None]


def test_member_one_agrees_with_the_original(
    spec: ModelSpec, weights_dir: Path, golden: dict[str, npt.NDArray[Any]]
) -> None:
    """The plain network gives the golden softmax of member 1 to 1e-4."""
    network = DeepMedic(Architecture.from_parameters(spec.parameters, classes=5)).eval()
    state = torch.load(weights_dir / spec.name / "model_1.pt", map_location="cpu", weights_only=True)
    network.load_state_dict(state, strict=True)
    with torch.inference_mode():
        softmax = network(_scaled(golden["hu"])).softmax(dim=1)[0].numpy()
    assert np.abs(softmax - golden["softmax_member_1"]).max() < 1e-4


def test_the_engine_agrees_with_the_original(
    spec: ModelSpec, weights_dir: Path, golden: dict[str, npt.NDArray[Any]]
) -> None:
    """The folded networks give the golden softmax of member 1 and of the ensemble to 1e-4 through the engine."""
    files = [weights_dir / spec.name / file.name for file in spec.files]
    # 40 voxels of context lie round the golden window's inside; padding shifts it onto the engine's lattice of 15
    hu = np.pad(golden["hu"], 5, constant_values=-1024)
    scanned = np.pad(np.ones(golden["hu"].shape, dtype=bool), 5)
    grid = HeadGrid(hu_zyx=hu.astype(np.float32), spacing_zyx_mm=(1.0, 1.0, 1.0), scanned_zyx=scanned)
    inside = (slice(None), *[slice(45, 75)] * 3)
    for members, expected in (((1,), "softmax_member_1"), (spec.members, "softmax_ensemble")):
        chosen = [files[member - 1] for member in members]
        segmenter = load_deepmedic(spec, chosen, members=members, device="cpu", precision="float32", threads=0)
        only_inside = np.zeros(hu.shape, dtype=bool)
        only_inside[45:75, 45:75, 45:75] = True
        result = segmenter.segment_where(grid, only_inside)
        assert np.abs(result.probabilities_czyx[inside] - golden[expected]).max() < 1e-4
        assert result.plan.members == members


def test_folding_changes_nothing() -> None:
    """Dead channels, shortcuts and scales of both signs survive folding to rounding."""
    network = _small_network(1)
    window = torch.randn(1, 1, 110, 125, 110)
    with torch.inference_mode():
        expected = network(window).softmax(dim=1)[0]
        folded = fold(network, dtype=torch.float32, device=CPU)
        coarse = folded.coarse_rows(window)
        inside = window[:, :, 32:-32, 32:-32, 32:-32]
        everywhere = np.ones(expected.shape[1:], dtype=bool)
        rows = WantedRows.of(everywhere, folded.lattices((30, 45, 30)), first=(0, 0, 0), device=CPU)
        found = folded.window_probabilities(inside, coarse, rows).T.reshape(expected.shape)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
    assert folded.fine.stages[-1].weight.shape[1] == 5, "the dead half of the channels is gone"


def test_windows_of_any_size_give_the_same(spec: ModelSpec) -> None:
    """Small, uneven and whole-region windows agree, as does the plain network on the padded head."""
    network = _small_network(3)
    folded = fold(network, dtype=torch.float32, device=CPU)
    grid = _head()
    everywhere = np.ones(grid.hu_zyx.shape, dtype=bool)
    results = [
        _segmenter(spec, [folded], window_voxels=most).segment_where(grid, everywhere).probabilities_czyx
        for most in (17**3, 40_000, 10**9)
    ]
    padded = np.full((60 + 80, 75 + 80, 60 + 80), -1024.0, dtype=np.float32)
    padded[40:90, 40:102, 40:97] = grid.hu_zyx
    with torch.inference_mode():
        plain = network(_scaled(padded)).softmax(dim=1)[0, :, :50, :62, :57].numpy()
    for result in results:
        np.testing.assert_allclose(result, plain, atol=2e-5)


def test_an_ensemble_is_the_mean_and_counts_each_member(spec: ModelSpec) -> None:
    """Probabilities are the mean of the members' softmax; volumes are those of each member's own labels."""
    folded = [fold(_small_network(seed), dtype=torch.float32, device=CPU) for seed in (4, 5, 6)]
    grid = _head()
    everywhere = np.ones(grid.hu_zyx.shape, dtype=bool)
    single = [_segmenter(spec, [one], window_voxels=10**6).segment_where(grid, everywhere) for one in folded]
    seen: list[float] = []
    result = _segmenter(spec, folded, window_voxels=10**6).segment_where(grid, everywhere, on_progress=seen.append)
    np.testing.assert_allclose(
        result.probabilities_czyx, np.mean([one.probabilities_czyx for one in single], axis=0), atol=1e-6
    )
    for number, one in enumerate(single):
        labels = one.probabilities_czyx.argmax(axis=0)
        expected_ml = [np.count_nonzero(labels == label) / 1000.0 for label in (1, 2, 3, 4)]
        np.testing.assert_allclose(result.member_volumes_ml[number], expected_ml)
    assert len(result.seconds_per_member) == 3
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_outside_the_windows_is_background(spec: ModelSpec) -> None:
    """Where nothing was computed, background is exactly 1 and probabilities still sum to 1."""
    folded = fold(_small_network(7), dtype=torch.float32, device=CPU)
    grid = _head()
    mask = np.zeros(grid.hu_zyx.shape, dtype=bool)
    mask[20, 20, 20] = True
    result = _segmenter(spec, [folded], window_voxels=10**6).segment_where(grid, mask)
    computed = np.zeros(mask.shape, dtype=bool)
    computed[20:25, 20:25, 20:25] = True
    assert (result.probabilities_czyx[0][~computed] == 1).all()
    np.testing.assert_allclose(result.probabilities_czyx.sum(axis=0), 1, atol=1e-5)


def test_what_is_computed_does_not_depend_on_the_windows(spec: ModelSpec) -> None:
    """A ragged mask gives the same voxels and numbers in small windows as in large ones: whole cells, no more."""
    folded = fold(_small_network(7), dtype=torch.float32, device=CPU)
    grid = _head()
    mask = np.random.default_rng(5).random(grid.hu_zyx.shape) > 0.999
    cells = np.zeros((50, 65, 60), dtype=bool)
    for z, y, x in np.argwhere(mask) // 5 * 5:
        cells[z : z + 5, y : y + 5, x : x + 5] = True
    cells = cells[:50, :62, :57]
    large, small = (_segmenter(spec, [folded], window_voxels=most).segment_where(grid, mask) for most in (10**9, 15**3))
    np.testing.assert_array_equal(large.probabilities_czyx[0] == 1, ~cells)
    np.testing.assert_array_equal(small.probabilities_czyx[0] == 1, ~cells)
    np.testing.assert_allclose(small.probabilities_czyx, large.probabilities_czyx, atol=2e-5)


def test_bfloat16_stays_near_float32(spec: ModelSpec) -> None:
    """The mixed precision runs anywhere and moves probabilities by a few per cent at most; the plan names it."""
    network = _small_network(8)
    grid = _head()
    everywhere = np.ones(grid.hu_zyx.shape, dtype=bool)
    exact = _segmenter(spec, [fold(network, dtype=torch.float32, device=CPU)], window_voxels=10**6)
    mixed = _mixed(spec, [Member(network=fold(network, dtype=torch.bfloat16, device=CPU))])
    assert mixed.plan.precision == "bfloat16"
    assert mixed.plan.digest != exact.plan.digest
    difference = mixed.segment_where(grid, everywhere).probabilities_czyx
    difference -= exact.segment_where(grid, everywhere).probabilities_czyx
    assert 0 < np.abs(difference).max() < 0.05


def _mixed(spec: ModelSpec, members: list[Member]) -> DeepMedicSegmenter:
    return DeepMedicSegmenter(
        spec,
        members,
        members=tuple(range(1, len(members) + 1)),
        precision="bfloat16",
        device=CPU,
        window_voxels=10**6,
    )


def test_what_bfloat16_leaves_undecided_is_seen_in_float32(spec: ModelSpec) -> None:
    """Near a border of blood the ensemble and every member give float32's numbers, elsewhere bfloat16's."""
    networks = [_small_network(seed) for seed in (8, 10)]
    exact = [fold(network, dtype=torch.float32, device=CPU) for network in networks]
    rounded = [fold(network, dtype=torch.bfloat16, device=CPU) for network in networks]
    grid = _head()
    everywhere = np.ones(grid.hu_zyx.shape, dtype=bool)
    reference = _segmenter(spec, exact, window_voxels=10**6).segment_where(grid, everywhere)
    once = _mixed(spec, [Member(network=one) for one in rounded]).segment_where(grid, everywhere)
    pairs = [Member(network=one, exact=other) for one, other in zip(rounded, exact, strict=True)]
    twice = _mixed(spec, pairs).segment_where(grid, everywhere)
    rows = torch.from_numpy(once.probabilities_czyx.reshape(5, -1).T)
    unsure = borderline(rows, (1, 2, 4)).numpy().reshape(everywhere.shape)
    assert 0.001 < unsure.mean() < 0.5
    for found, expected in ((twice, reference), (twice, once)):
        where = unsure if expected is reference else ~unsure
        difference = np.abs(found.probabilities_czyx - expected.probabilities_czyx)[:, where]
        assert difference.max() < 2e-5
        same = found.member_labels_mzyx == expected.member_labels_mzyx
        assert same[:, where].mean() > 0.9999
    blood = [np.isin(one.probabilities_czyx.argmax(axis=0), (1, 2, 4)) for one in (reference, once, twice)]
    assert (blood[0] != blood[1]).sum() > 0
    assert (blood[0] != blood[2]).sum() == 0


def test_only_what_is_close_to_blood_is_undecided() -> None:
    """Close calls with blood on either side count; oedema against background, and clear answers, do not."""
    near = MARGIN / 2
    mean = torch.tensor(
        [
            [0.5 + near / 2, 0.5 - near / 2, 0.0, 0.0, 0.0],  # background or IPH
            [0.0, 0.4, 0.4 + near, 0.2 - near, 0.0],  # IPH or EAH
            [0.0, 0.0, 0.0, 0.5, 0.5],  # oedema or IVH
            [0.5, 0.0, 0.0, 0.5, 0.0],  # background or oedema
            [0.7, 0.3, 0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0, 0.0],
        ]
    )
    assert borderline(mean, (1, 2, 4)).tolist() == [True, True, True, False, False, False]


def test_a_head_without_tissue_gives_background(spec: ModelSpec) -> None:
    """Air alone: no window, no label, no seconds."""
    folded = fold(_small_network(9), dtype=torch.float32, device=CPU)
    grid = HeadGrid(
        hu_zyx=np.full((30, 30, 30), -1000, dtype=np.float32),
        spacing_zyx_mm=(1.0, 1.0, 1.0),
        scanned_zyx=np.ones((30, 30, 30), dtype=bool),
    )
    result = _segmenter(spec, [folded], window_voxels=10**6).segment(grid)
    assert (result.probabilities_czyx[0] == 1).all()
    assert result.member_volumes_ml.sum() == 0


def test_another_spacing_is_refused(spec: ModelSpec) -> None:
    """A grid that is not the spec's raises instead of giving wrong volumes."""
    folded = fold(_small_network(9), dtype=torch.float32, device=CPU)
    grid = HeadGrid(
        hu_zyx=np.zeros((30, 30, 30), dtype=np.float32),
        spacing_zyx_mm=(2.0, 1.0, 1.0),
        scanned_zyx=np.ones((30, 30, 30), dtype=bool),
    )
    with pytest.raises(ModelError, match="needs a grid of"):
        _segmenter(spec, [folded], window_voxels=10**6).segment(grid)


def test_weights_of_another_network_are_refused(spec: ModelSpec, tmp_path: Path) -> None:
    """A state dict whose tensors do not fit is ModelCorrupted, by the file's name."""
    path = tmp_path / "model_1.pt"
    torch.save(_small_network(1).state_dict(), path)
    with pytest.raises(ModelCorrupted, match=r"model_1\.pt"):
        load_deepmedic(spec, [path], members=(1,), device="cpu", precision="float32", threads=0)


def test_too_little_memory_is_no_corruption(spec: ModelSpec, tmp_path: Path) -> None:
    """Sound weights for which the host has no memory now are not called corrupted."""
    path = tmp_path / "model_1.pt"
    torch.save({"weight": torch.zeros(2**24)}, path)
    with little_memory(8 * 2**20), pytest.raises((RuntimeError, MemoryError), match="allocate memory"):
        load_deepmedic(spec, [path], members=(1,), device="cpu", precision="float32", threads=0)


@pytest.mark.parametrize(("device", "precision"), [("tpu", "auto"), ("cuda:99", "auto"), ("cpu", "float8")])
def test_an_impossible_device_or_precision_is_refused(spec: ModelSpec, device: str, precision: str) -> None:
    """One clear sentence, before any file is read."""
    with pytest.raises(ModelError, match="There is no"):
        load_deepmedic(spec, [], members=(), device=device, precision=precision, threads=0)
