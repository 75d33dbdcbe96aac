"""DeepMedic made ready to run: every BatchNorm folded, every dead channel dropped, arranged for whole regions.

Three rewrites, all exact but for rounding (`models.networks.deepmedic` is the reference):

- A block's BatchNorm stands before its convolution, so it is folded into the convolution *before* it; where that
  output is also needed raw, by the next block's shortcut, it stays one fused multiply-add.
- The published weights hold channels that training has switched off (all weights below 1e-30). They are zero
  everywhere and are left out, a quarter of the multiplications; what they add behind a BatchNorm is a constant bias.
- The fused stage is 1 x 1 x 1, so it runs over rows of channels, one for each voxel that is wanted and no other; the
  coarse paths' features are repeated when a row is put together, never for a whole window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from ichor.errors import ModelError
from models.engines.rows import CoarseLattice, rows_of
from models.engines.stage import Dense, Stage
from models.networks.deepmedic import Block, DeepMedic, centre

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.engines.rows import WantedRows

EXACT_BLOCKS = 2
"""Blocks at the start of the fine path that stay in float32, as do the coarse paths and the logits.

Together they are a seventh of the work, and rounding them to bfloat16 makes over nine tenths of its whole error.
"""

DEAD_WEIGHT = 1e-30
"""Largest absolute weight of a channel that training switched off; in the published files they are below 1e-37."""

FUSED_ROWS = {"cpu": 2_000, "cuda": 1_000_000}
"""Voxels that pass the fused stage at once: 250 bfloat16 channels of 2,000 are 1 MB and stay in a core's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedPath:
    """One path; what it gives has the affine of the fused stage's first block applied."""

    factor: int
    stages: tuple[Stage, ...]

    def on(self, device: torch.device) -> FoldedPath:
        """Return the path on a device."""
        return replace(self, stages=tuple(stage.on(device) for stage in self.stages))


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedDeepMedic:
    """The network in parts: coarse paths for a whole region, then the fine path and the fused stage for a window."""

    coarse: tuple[FoldedPath, ...]
    fine: FoldedPath
    fused: tuple[Dense, ...]
    margin: int
    halo: int

    def on(self, device: torch.device) -> FoldedDeepMedic:
        """Return the network on a device, itself where it is there."""
        if self.fused[0].weight_io.device == device:
            return self
        return replace(
            self,
            coarse=tuple(path.on(device) for path in self.coarse),
            fine=self.fine.on(device),
            fused=tuple(stage.on(device) for stage in self.fused),
        )

    def lattices(self, region: tuple[int, int, int]) -> tuple[CoarseLattice, ...]:
        """Return the coarse paths' lattices over a region of this shape, whose sides their factors divide."""
        z, y, x = region
        return tuple(
            CoarseLattice(factor=s, shape=(z // s, y // s, x // s)) for s in (path.factor for path in self.coarse)
        )

    def coarse_rows(self, region: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return each coarse path's features of a region padded by `margin`, a row for each point of its lattice.

        The region's inside must start at and extend over multiples of every scale factor.
        """
        found = []
        for path in self.coarse:
            s = path.factor
            crop = self.margin - self.halo * s
            inner = centre(region, torch.Size(side - 2 * crop for side in region.shape[2:]))
            features = _run(path.stages, inner[:, :, s // 2 :: s, s // 2 :: s, s // 2 :: s].contiguous())
            found.append(rows_of(features).to(self.fused[0].weight_io.dtype))
        return tuple(found)

    def window_probabilities(
        self, window: torch.Tensor, coarse: Sequence[torch.Tensor], wanted: WantedRows
    ) -> torch.Tensor:
        """Return float32 softmax (n, classes) of the wanted voxels of a window padded by `halo`."""
        fine = rows_of(_run(self.fine.stages, window)).to(self.fused[0].weight_io.dtype)
        count, step = len(wanted.fine), FUSED_ROWS[window.device.type]
        out = torch.empty((count, len(self.fused[-1].bias)), dtype=torch.float32, device=window.device)
        for begin in range(0, count, step):
            these = slice(begin, begin + step)
            x = wanted.joined(fine, coarse, these)
            for block in self.fused:
                x = block(x)
            torch.softmax(x, dim=1, out=out[these])
        return out


def fold(network: DeepMedic, *, dtype: torch.dtype, device: torch.device) -> FoldedDeepMedic:
    """Fold a loaded network; the arithmetic on weights is done in float64.

    `dtype` is what the bulk of the convolutions computes in; see EXACT_BLOCKS for the rest.
    """
    first, *rest = network.fused_blocks
    if first.has_shortcut:
        raise ModelError("A shortcut round the first fused block is not supported.")
    width = network.architecture.path_channels[-1]
    paths, shares = [], []
    for number, path in enumerate(network.paths):
        # a path's share of the fused stage is one more block, made of the first fused block's share of inputs
        share = _Raw.of(first, inputs=slice(number * width, (number + 1) * width))
        chain = [*(_Raw.of(block) for block in path.blocks), share]
        exact = EXACT_BLOCKS if path.scale == 1 else len(path.blocks)
        dtypes = [torch.float32] * exact + [dtype] * (len(path.blocks) - exact) + [torch.float32]
        *stages, last = _fold_chain(chain, dtypes=dtypes, device=device)
        paths.append(FoldedPath(factor=path.scale, stages=tuple(stages)))
        shares.append(last)
    # bfloat16 logits would round probabilities by several per cent
    dtypes = [dtype] * (len(rest) - 1) + [torch.float32]
    behind = _fold_chain([_Raw.of(block) for block in rest], dtypes=dtypes, device=device)
    return FoldedDeepMedic(
        coarse=tuple(paths[:-1]),
        fine=paths[-1],
        fused=(Dense.joining(shares, dtype=dtype), *map(Dense.of, behind)),
        margin=network.architecture.margin,
        halo=network.architecture.halo,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Raw:
    """A block's numbers in float64: BatchNorm as `scale * x + shift`, slope of the PReLU, convolution."""

    scale: torch.Tensor  # (C,)
    shift: torch.Tensor
    slope: float
    weight: torch.Tensor
    has_shortcut: bool

    @classmethod
    def of(cls, block: Block, *, inputs: slice = slice(None)) -> _Raw:
        bn = block.bn
        if bn.running_mean is None or bn.running_var is None:
            raise ModelError("A BatchNorm without running statistics cannot be folded.")
        scale = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
        shift = bn.bias.double() - scale * bn.running_mean.double()
        return cls(
            scale=scale[inputs].detach(),
            shift=shift[inputs].detach(),
            slope=float(block.prelu.weight.item()),
            weight=block.conv.weight.double()[:, inputs].detach(),
            has_shortcut=block.has_shortcut,
        )


def _fold_chain(chain: list[_Raw], *, dtypes: list[torch.dtype], device: torch.device) -> tuple[Stage, ...]:
    """Fold blocks that follow each other; the chain's input comes raw, its output is whole and raw."""
    kept = _kept_channels(chain)
    stages = []
    for number, (raw, dtype) in enumerate(zip(chain, dtypes, strict=True)):
        inputs, outputs = kept[number], kept[number + 1]
        following = chain[number + 1] if number + 1 < len(chain) else None
        # a dropped channel is zero everywhere: behind its BatchNorm and PReLU it is a constant
        constant = torch.where(raw.shift >= 0, raw.shift, raw.shift * raw.slope)
        constant[inputs] = 0
        bias = torch.einsum("oidhw,i->o", raw.weight, constant)[outputs]
        weight = raw.weight[outputs][:, inputs]
        shortcut_scale = None
        if following is not None and not following.has_shortcut:
            scale = following.scale[outputs]
            weight = weight * scale[:, None, None, None, None]
            bias = bias * scale + following.shift[outputs]
            shortcut_scale = _channels(scale, dtype, device) if raw.has_shortcut else None
        is_raw = number == 0 or raw.has_shortcut
        stages.append(
            Stage(
                scale=_channels(raw.scale[inputs], dtype, device) if is_raw else None,
                shift=_channels(raw.shift[inputs], dtype, device) if is_raw else None,
                slope=raw.slope,
                weight=weight.to(device, dtype, memory_format=torch.channels_last_3d),
                bias=bias.to(device, dtype),
                has_shortcut=raw.has_shortcut,
                shortcut_scale=shortcut_scale,
            )
        )
    return tuple(stages)


def _kept_channels(chain: list[_Raw]) -> list[torch.Tensor]:
    """Indices of the channels to keep in the chain's input and behind each block.

    A shortcut ties a block's output to its input, so a channel goes only where every block that the shortcuts tie
    together leaves it zero. The chain's own input and output are kept whole.
    """
    live = [torch.ones(chain[0].weight.shape[1], dtype=torch.bool)]
    live += [raw.weight.abs().amax(dim=(1, 2, 3, 4)) > DEAD_WEIGHT for raw in chain]
    live[-1] = torch.ones_like(live[-1])
    for number, raw in enumerate(chain):
        if raw.has_shortcut:
            live[number + 1] = live[number + 1] | live[number]
    for number, raw in reversed(list(enumerate(chain))):
        if raw.has_shortcut:
            live[number] = live[number + 1]
    return [mask.nonzero()[:, 0] for mask in live]


def _channels(values: torch.Tensor, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return values.to(device, dtype)[None, :, None, None, None]


def _run(stages: Sequence[Stage], x: torch.Tensor) -> torch.Tensor:
    for stage in stages:
        x = stage(x)
    return x
