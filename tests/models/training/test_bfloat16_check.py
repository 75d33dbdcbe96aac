"""Convolutions that a machine gets wrong in bfloat16 are found, whatever the network does around them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.training.bfloat16_check import wrong_in_bfloat16
from tests.models.training.spoiled_bfloat16 import SpoiledBfloat16

SHAPE = (2, 1, 4, 16, 16)


class Network(nn.Module):
    """A convolution by module and one by function, a transposed one, and what chance and training change."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.BatchNorm3d(8), nn.Dropout3d())
        self.weight = nn.Parameter(torch.ones(8, 8, 1, 3, 3))
        self.last = nn.ConvTranspose3d(8, 2, 2, stride=2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return two channels."""
        between = nn.functional.conv3d(self.first(image), weight=self.weight, padding=(0, 1, 1), stride=2)
        answer: torch.Tensor = self.last(between)
        return answer


def test_what_is_right_is_left_alone() -> None:
    """Nothing is found, and neither weights, statistics nor torch's chance have changed."""
    torch.manual_seed(1)
    network = Network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    assert wrong_in_bfloat16(network, [SHAPE]) == ()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (
            nn.functional.conv3d,
            ["conv3d 8 x 1 x 3 x 3 x 3 on 4 x 16 x 16", "conv3d 8 x 8 x 1 x 3 x 3 on 4 x 16 x 16"],
        ),
        (nn.functional.conv_transpose3d, ["conv_transpose3d 8 x 2 x 2 x 2 x 2 on 2 x 8 x 8"]),
    ],
)
def test_wrong_gradients_are_found(function: object, named: list[str]) -> None:
    """Each way of convolving is named once, however many shapes meet it; the answer alone would not have shown it."""
    assert callable(function)
    with SpoiledBfloat16(function):
        wrong = wrong_in_bfloat16(Network(), [SHAPE, SHAPE])
    assert [str(one) for one in wrong] == named


def test_a_patch_that_does_not_fit_is_for_others_to_refuse() -> None:
    """The training says it, with the network's own words."""
    assert wrong_in_bfloat16(Network(), [(2, 3, 4, 16, 16)]) == ()
