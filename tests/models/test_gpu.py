"""On a CUDA device: the CPU's labels, and what happens when the GPU's memory really runs out. `make gpu-check`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from models.engines.deepmedic import DeepMedicSegmenter, Member
from models.engines.folded import fold
from models.engines.sliding_window import SlidingWindowSegmenter
from models.networks.deepmedic import Architecture, DeepMedic
from models.registry import SHIPPED_SPECS
from models.segmenter import HeadGrid
from models.spec import load_spec
from tests.models.test_memory import one_member_spec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]

SMALL = Architecture(
    scale_factors=(5, 3, 1), path_channels=(6, 6, 8, 8, 8, 8, 10, 10), fused_channels=(20, 20), classes=5
)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Leave this process a hundredth of the GPU's memory."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.01)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def _head(side: int = 96) -> HeadGrid:
    hu = np.random.default_rng(3).normal(40, 20, (side, side, side)).astype(np.float32)
    return HeadGrid(hu_zyx=hu, spacing_zyx_mm=(1.0, 1.0, 1.0), scanned_zyx=np.ones(hu.shape, dtype=bool))


def test_deepmedic_answers_as_on_the_cpu() -> None:
    """Softmax of the GPU's float32 within 1e-4 of the CPU's."""
    spec = load_spec(SHIPPED_SPECS / "blast-ct-v1.json")
    answers = []
    for device in (torch.device("cpu"), torch.device("cuda", 0)):
        torch.manual_seed(1)
        network = Member(network=fold(DeepMedic(SMALL).eval(), dtype=torch.float32, device=device))
        segmenter = DeepMedicSegmenter(spec, [network], members=(1,), precision="float32", device=device)
        answers.append(segmenter.segment_where(_head(60), np.ones((60, 60, 60), dtype=bool)))
    difference = np.abs(answers[0].probabilities_czyx - answers[1].probabilities_czyx)
    assert difference.max() < 1e-4


@pytest.mark.usefixtures("little_memory")
def test_the_ladder_is_climbed_down_on_a_real_gpu() -> None:
    """A network too wide for what is left of the GPU still answers, on a lower rung that it names."""
    torch.manual_seed(1)
    wide = torch.nn.Sequential(torch.nn.Conv3d(1, 512, 1), torch.nn.ReLU(), torch.nn.Conv3d(512, 5, 1)).eval()
    spec = one_member_spec(window=[96, 96, 96])
    device = torch.device("cuda", 0)
    segmenter = SlidingWindowSegmenter(spec, [wide], members=(1,), precision="float32", device=device, batch=4)
    result = segmenter.segment(_head())
    assert result.fallbacks
    assert result.probabilities_czyx.std() > 0
