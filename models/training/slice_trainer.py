"""The training of a slice classifier on slice labels alone: binary cross-entropy of each output.

Like the training on masks it goes on from its last checkpoint, and all chance follows from seed and step. The last
weights are kept: the learning rate falls to nothing, and nothing is chosen by validation scans but the map's threshold.
"""

from __future__ import annotations

import hashlib
import math
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog
import torch
from torch.nn import functional

from models.engines.hardware import resolve_device, set_threads
from models.evaluation.exam import auc
from models.networks.swin_classifier import NAME, SwinClassifier, build_classifier
from models.training.checkpoint import Checkpoint, Weights, load_checkpoint, save_checkpoint
from models.training.curve import Curve
from models.training.patches import chance
from models.training.schedule import learning_rate_at
from models.training.slice_batches import Planes, SliceBatches
from models.training.trainer import CHECKPOINT, CURVE, TrainingFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from models.training.slice_recipe import SliceRecipe
    from models.training.slice_sample import SliceSample

_CLIP = 1.0  # norm of the gradient
_PLANES = 32  # at once, where nothing is learned

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceHeads:
    """The scans of a training; `digest` is a hash over all of them and the part that each has."""

    training: Sequence[SliceSample]
    validation: Sequence[SliceSample]
    threshold: Sequence[SliceSample]  # with masks: they choose the map's threshold and nothing else
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedClassifier:
    """What came out of one seed."""

    seed: int
    weights: Weights
    steps: int
    parameters: int
    device: str
    validation_auc: float | None  # of planes with any blood against planes without

    def classifier(self, recipe: SliceRecipe) -> SwinClassifier:
        """Return the network with its weights, on the CPU, ready to look."""
        network = build_classifier(NAME, recipe.network_parameters)
        network.load_state_dict(self.weights)
        return network.eval().requires_grad_(requires_grad=False)


def train_classifier(
    recipe: SliceRecipe,
    seed: int,
    heads: SliceHeads,
    place: Path,
    *,
    on_progress: Callable[[float], None] | None = None,
) -> TrainedClassifier:
    """Train one seed in a folder of its own, going on where an earlier run there stopped.

    Raises ModelError for a network that cannot be built, CheckpointUnfit where the folder is another training's, and
    TrainingFailed where subtypes are asked for and not told, or the loss is no number.
    """
    if recipe.subtypes:
        for sample in (*heads.training, *heads.validation):
            if not sample.knows_subtypes:
                raise TrainingFailed(f"{sample.name}: nobody says the subtypes of its slices; say subtypes = false.")
    place.mkdir(parents=True, exist_ok=True)
    set_threads(recipe.training.threads)
    torch.manual_seed(seed)
    device, how = resolve_device(recipe.training.device), recipe.training
    network = build_classifier(NAME, recipe.network_parameters).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
    run = hashlib.sha256(f"{recipe.sha256}:{seed}:{heads.digest}".encode()).hexdigest()
    found = load_checkpoint(place / CHECKPOINT, run)
    done = 0
    if found is not None:
        network.load_state_dict(found.network)
        optimiser.load_state_dict(dict(found.optimiser))
        done = found.step
        _log.info("training_resumed", seed=seed, step=done)
    batches, validation = SliceBatches.of(recipe, heads.training), Planes.of(recipe, heads.validation)
    with closing(Curve(place / CURVE, after_step=done)) as curve:
        for step in range(done + 1, how.steps + 1):
            rate = learning_rate_at(step, how)
            loss = _step(network.train(), optimiser, batches.draw(chance(seed, step, 0)), rate)
            point: dict[str, float | None] = {"step": step, "loss": loss, "learning_rate": rate}
            if step % how.validate_every == 0 or step == how.steps:
                point["validation_auc"] = plane_auc(network, validation)
                _log.info("validated", seed=seed, step=step, auc=point["validation_auc"])
            curve.add(point)
            if step % how.checkpoint_every == 0 or step == how.steps:
                save_checkpoint(place / CHECKPOINT, _state(run, step, network, optimiser))
            if on_progress is not None:
                on_progress(step / how.steps)
    return TrainedClassifier(
        seed=seed,
        weights={name: value.detach().cpu().clone() for name, value in network.state_dict().items()},
        steps=how.steps,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        device=str(device),
        validation_auc=plane_auc(network, validation),
    )


def plane_auc(network: SwinClassifier, planes: Planes) -> float | None:
    """Return the area under the curve of planes with any blood against planes without; None without both."""
    device = next(network.parameters()).device
    network.eval()
    scores: list[float] = []
    with torch.no_grad():
        for part in torch.split(planes.hu, _PLANES):
            scores += network(planes.view.image(part.float().to(device)))[:, 0].tolist()
    return auc(scores, planes.show_blood.tolist())


def _step(
    network: SwinClassifier,
    optimiser: torch.optim.Optimizer,
    batch: tuple[torch.Tensor, torch.Tensor],
    rate: float,
) -> float:
    for group in optimiser.param_groups:
        group["lr"] = rate
    device = next(network.parameters()).device
    image, targets = batch
    optimiser.zero_grad(set_to_none=True)
    loss = functional.binary_cross_entropy_with_logits(network(image.to(device)), targets.to(device))
    if not math.isfinite(float(loss.detach())):
        raise TrainingFailed("The loss is no number: a lower training.learning_rate may help.")
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
    optimiser.step()
    return float(loss.detach())


def _state(run: str, step: int, network: SwinClassifier, optimiser: torch.optim.Optimizer) -> Checkpoint:
    return replace(Checkpoint.at_start(run), step=step, network=network.state_dict(), optimiser=optimiser.state_dict())
