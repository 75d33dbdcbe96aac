"""A Swin Transformer that says of a slice whether it shows blood, and which: what HGI-SAM's maps are drawn from.

Papers: Rasoulian et al., MLCN 2022 (Swin-SAM) and MELBA 2023:012 (HGI-SAM), over Liu et al., arXiv 2103.14030. MONAI's
patch embedding, blocks and merging; no merging behind the last stage, where MONAI's own SwinTransformer has one more.
At the defaults it is Swin-B at 384 x 384: 86.88 million parameters with two outputs; 87.90 with the 1000 of ImageNet,
published as 88. Deviations: no weights from ImageNet are fetched; one sigmoid output for each class (as Swin-SAM) in
the place of HGI-SAM's softmax over two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from monai.networks.blocks.patchembedding import PatchEmbed
from monai.networks.nets.swin_unetr import BasicLayer, PatchMerging
from torch import Tensor, nn

from ichor.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PUBLISHED_PARAMETERS = 87.9e6
"""With 1000 outputs."""


class SwinClassifier(nn.Module):
    """(batch, windows, side, side) to logits (batch, outputs); the first output is any haemorrhage."""

    def __init__(  # noqa: PLR0913 - each is one of the architecture's own numbers
        self,
        *,
        in_channels: int,
        outputs: int,
        side: int,
        patch: int,
        window: int,
        features: int,
        depths: Sequence[int],
        heads: Sequence[int],
        drop_path: float,
    ) -> None:
        super().__init__()
        tokens = side // patch
        last = tokens >> (len(depths) - 1)
        if side % patch or tokens % (1 << (len(depths) - 1)) or any((tokens >> n) % window for n in range(len(depths))):
            raise ValueError(
                f"side {side} in patches of {patch} must be cut into whole windows of {window} at each of "
                f"{len(depths)} stages"
            )
        self.side, self.window, self.tokens = side, window, tuple(tokens >> n for n in range(len(depths)))
        self.embed = PatchEmbed(
            patch_size=patch, in_chans=in_channels, embed_dim=features, norm_layer=nn.LayerNorm, spatial_dims=2
        )
        drops = torch.linspace(0, drop_path, sum(depths), device="cpu").tolist()
        merging: Any = PatchMerging  # MONAI wants the class, and says that it wants a module
        self.stages = nn.ModuleList(
            BasicLayer(
                dim=features << stage,
                depth=depth,
                num_heads=heads[stage],
                window_size=(window, window),
                drop_path=drops[sum(depths[:stage]) : sum(depths[: stage + 1])],
                qkv_bias=True,
                downsample=merging if tokens >> stage > last else None,
            )
            for stage, depth in enumerate(depths)
        )
        self.norm = nn.LayerNorm(features << (len(depths) - 1))
        self.head = nn.Linear(features << (len(depths) - 1), outputs)
        self.apply(_as_swin_begins)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits."""
        x = self.embed(image)
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.head(self.norm(x.flatten(2).transpose(1, 2)).mean(dim=1))
        return logits

    def attention(self) -> tuple[tuple[nn.Module, ...], ...]:
        """Return by stage the softmax of every block, whose output is (windows, heads, tokens, tokens)."""
        return tuple(tuple(block.attn.softmax for block in stage.blocks) for stage in self._blocks())

    def last_norm(self) -> nn.Module:
        """Return the layer whose output GradCAM weighs: the first norm of the last block, (batch, y, x, features)."""
        norm: nn.Module = self._blocks()[-1].blocks[-1].norm1
        return norm

    def shift(self, stage: int, block: int) -> int:
        """Return by how many tokens a block's windows are shifted: every second one by half, if there are several."""
        return self.window // 2 if block % 2 and self.tokens[stage] > self.window else 0

    def _blocks(self) -> tuple[Any, ...]:
        return tuple(self.stages)


def _as_swin_begins(layer: nn.Module) -> None:
    """Set small weights, so that every block begins near to passing on what it gets; torch's own are larger."""
    if isinstance(layer, nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


NAME = "swin-classifier"


def build_classifier(name: str, parameters: Mapping[str, Any]) -> SwinClassifier:
    """Build the classifier that a spec names; raise ModelError where it is another, or cannot be built."""
    if name != NAME:
        raise ModelError(f"There is no classifier {name!r}; there is {NAME}.")
    try:
        return build_swin_classifier(parameters)
    except (TypeError, ValueError, ZeroDivisionError, IndexError) as error:
        raise ModelError(f"The network {NAME} cannot be built from its parameters: {error}.") from error


def build_swin_classifier(parameters: Mapping[str, Any]) -> SwinClassifier:
    """Build it untrained.

    `in_channels` (3 windows), `outputs` (2), `side` (384), `patch` (4), `window` (12), `features` (128), `depths`
    (2, 2, 18, 2), `heads` (4, 8, 16, 32), `drop_path` (0).
    """
    return SwinClassifier(
        in_channels=int(parameters.get("in_channels", 3)),
        outputs=int(parameters.get("outputs", 2)),
        side=int(parameters.get("side", 384)),
        patch=int(parameters.get("patch", 4)),
        window=int(parameters.get("window", 12)),
        features=int(parameters.get("features", 128)),
        depths=tuple(parameters.get("depths", (2, 2, 18, 2))),
        heads=tuple(parameters.get("heads", (4, 8, 16, 32))),
        drop_path=float(parameters.get("drop_path", 0.0)),
    )
