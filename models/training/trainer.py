"""The one training loop: patches, loss, steps, validation, checkpoints.

A training that was interrupted, by whatever, goes on from its last checkpoint and takes the same course: chance follows
from the step, and everything else is in the checkpoint. On one device with the same threads the numbers are equal to
the last bit.
"""

from __future__ import annotations

import hashlib
import math
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog
import torch

from ichor.errors import PermanentError
from models.engines.hardware import DTYPES, lay_channels_last, resolve_device, resolve_precision, set_threads
from models.engines.memory import is_out_of_memory
from models.networks.catalogue import build
from models.training.bfloat16_check import wrong_in_bfloat16
from models.training.checkpoint import Checkpoint, Weights, load_checkpoint, save_checkpoint
from models.training.curve import Curve
from models.training.event_log import EventLog
from models.training.extent import served_otherwise
from models.training.losses import expect_background, loss_of
from models.training.patches import Patches, chance
from models.training.pretraining.run import Machine, pretrain
from models.training.schedule import learning_rate_at
from models.training.spec import network_parameters, spec_of
from models.training.validation import Score, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import nn

    from models.segmenter import Precision
    from models.training.losses import AnswerCriterion
    from models.training.pretraining.material import Material
    from models.training.recipe import Recipe
    from models.training.sample import Sample

    Progress = Callable[[float], None]

CHECKPOINT, CURVE, PRETRAINING = "checkpoint.pt", "curve.jsonl", "pretraining"

_CLIP = 5.0  # norm of the gradient

_SAFE_BFLOAT16 = frozenset({"cuda"})
"""Where `auto` may train in bfloat16: not on a processor.

torch 2.13 with oneDNN 3.12 writes past its memory in the backward pass of some 3D convolutions in bfloat16 with AMX
(16 channels on planes of 128 x 64 or 112 x 96, for instance): it mostly dies of it, and might not. Without AMX some
gradients are wrong (`bfloat16_check.py`).
"""

_log = structlog.get_logger()


class TrainingFailed(PermanentError):
    """The training cannot go on."""

    code = "training"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What came out of one seed: the weights of the best validation, or the last where nothing validates."""

    seed: int
    weights: Weights
    step: int  # at which these weights were
    steps: int  # that were made
    parameters: int
    precision: Precision
    device: str
    score: Score | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The scans of a training; `digest` is a hash over all of them and the part that each has."""

    training: Sequence[Sample]
    validation: Sequence[Sample]
    digest: str
    material: Material | None = None  # of the pre-training, where the recipe has one


def train(
    recipe: Recipe,
    seed: int,
    heads: Heads,
    place: Path,
    *,
    pretrained_in: Path | None = None,
    on_progress: Progress | None = None,
) -> Trained:
    """Train one seed in a folder of its own, going on where an earlier run there stopped.

    A pre-training lies in a folder of that, or in `pretrained_in`, where several trainings can begin with it.

    Raises ModelError for a network that does not fit, CheckpointUnfit where the folder is another training's, and
    TrainingFailed where the loss is no number.
    """
    place.mkdir(parents=True, exist_ok=True)
    set_threads(recipe.training.threads)
    torch.manual_seed(seed)
    loop = _Loop.set_up(recipe, seed, heads)
    run = hashlib.sha256(f"{recipe.sha256}:{seed}:{heads.digest}".encode()).hexdigest()
    found = load_checkpoint(place / CHECKPOINT, run)
    how, before = recipe.training, 0 if recipe.pretraining is None else recipe.pretraining.steps
    if found is None and before:
        loop.pretrain(place / PRETRAINING if pretrained_in is None else pretrained_in, on_progress)
    state = Checkpoint.at_start(run) if found is None else loop.take_up(found)
    with (
        closing(Curve(place / CURVE, after_step=state.step)) as curve,
        closing(EventLog(place, after_step=state.step)) as events,
    ):
        while state.step < how.steps and not (how.patience and state.stale >= how.patience):
            step = state.step + 1
            loss, rate = loop.step(step), learning_rate_at(step, how)
            score = (
                loop.validate() if heads.validation and (step % how.validate_every == 0 or step == how.steps) else None
            )
            point = {"step": step, "loss": loss, "learning_rate": rate} | ({} if score is None else _said(score))
            curve.add(point)
            events.add(point)
            state = loop.after(state, step, score)
            if step % how.checkpoint_every == 0 or score is not None or step == how.steps:
                save_checkpoint(place / CHECKPOINT, state)
            if on_progress is not None:
                on_progress((before + step) / (before + how.steps))
    return loop.result(state)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loop:
    """What one training holds in memory."""

    recipe: Recipe
    seed: int
    heads: Heads
    network: nn.Module
    optimiser: torch.optim.Optimizer
    device: torch.device
    precision: Precision
    patches: Patches
    criterion: AnswerCriterion

    @classmethod
    def set_up(cls, recipe: Recipe, seed: int, heads: Heads) -> _Loop:
        how = recipe.training
        device = resolve_device(how.device)
        network = build(recipe.model.network, network_parameters(recipe))
        if served_otherwise(network, recipe.model):
            _log.warning("window_is_not_the_patch", network=recipe.model.network, learns_on=recipe.model.patch)
        expect_background(network, len(recipe.labels) + 1)
        network = network.to(device).train()
        lay_channels_last(network)
        optimiser = torch.optim.AdamW(network.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
        if recipe.model.mirror_image:
            heads = replace(heads, training=[one.halved(recipe.model.spacing_zyx_mm) for one in heads.training])
        patches = Patches.of(recipe)
        return cls(
            recipe=recipe,
            seed=seed,
            heads=heads,
            network=network,
            optimiser=optimiser,
            device=device,
            precision=_precision(recipe, network, device, views=patches.preparation.views),
            patches=patches,
            criterion=loss_of(recipe),
        )

    def pretrain(self, place: Path, on_progress: Progress | None) -> None:
        """Give the network the weights of the recipe's pre-training."""
        how, material = self.recipe.pretraining, self.heads.material
        if how is None or material is None:
            raise TrainingFailed("There is nothing to pre-train on.")
        share = how.steps / (how.steps + self.recipe.training.steps)

        def on_step(fraction: float) -> None:
            if on_progress is not None:
                on_progress(share * fraction)

        machine = Machine(device=self.device, precision=self.precision)
        pretrain(self.recipe, self.seed, self.network, material, place, machine, on_progress=on_step)

    def take_up(self, found: Checkpoint) -> Checkpoint:
        """Go on from a checkpoint."""
        self.network.load_state_dict(found.network)
        self.optimiser.load_state_dict(dict(found.optimiser))
        _log.info("training_resumed", seed=self.seed, step=found.step)
        return found

    def step(self, step: int) -> float:
        """Make one step of the optimiser; return the mean loss of its batches."""
        how, total = self.recipe.training, 0.0
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate_at(step, how)
        self.optimiser.zero_grad(set_to_none=True)
        try:
            for batch in range(how.accumulate):
                image, labels = self.patches.draw(self.heads.training, chance(self.seed, step, batch))
                loss = self._loss(image.to(self.device), labels.to(self.device)) / how.accumulate
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingFailed("The memory is too small: a smaller training.batch may help.") from error
        if not math.isfinite(total):
            raise TrainingFailed(f"The loss of step {step} is no number: a lower training.learning_rate may help.")
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
        self.optimiser.step()
        return total

    def _loss(self, image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        wanted = DTYPES[self.precision]
        # bfloat16 needs no scaling of the loss
        with torch.autocast(self.device.type, dtype=wanted, enabled=wanted is not torch.float32):
            try:
                answer = self.network(image)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                sides = " x ".join(str(side) for side in image.shape[2:])
                why = str(error).splitlines()[0]
                raise TrainingFailed(f"{self.recipe.model.network} cannot take a patch of {sides}: {why}") from error
        return self.criterion(answer.float(), labels)

    def validate(self) -> Score:
        """Score the network as it is."""
        return validate(spec_of(self.recipe), self.network, self.heads.validation, self.precision)

    def after(self, state: Checkpoint, step: int, score: Score | None) -> Checkpoint:
        """Return the state after a step."""
        better = score is not None and score.dice > state.best_dice
        if score is not None:
            _log.info("validated", seed=self.seed, step=step, dice=round(score.dice, 4), best=better)
        network = self.network.state_dict()
        return Checkpoint(
            run=state.run,
            step=step,
            network=network,
            optimiser=self.optimiser.state_dict(),
            best={name: value.detach().cpu().clone() for name, value in network.items()} if better else state.best,
            best_step=step if better else state.best_step,
            best_dice=score.dice if score is not None and better else state.best_dice,
            best_dice_by_label=score.dice_by_label if score is not None and better else state.best_dice_by_label,
            stale=0 if better else state.stale + (score is not None),
        )

    def result(self, state: Checkpoint) -> Trained:
        """Return the best weights and their score, or the last ones where nothing validates."""
        best = state.best
        if best is None:
            best = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
        return Trained(
            seed=self.seed,
            weights=best,
            step=state.best_step or state.step,
            steps=state.step,
            parameters=sum(parameter.numel() for parameter in self.network.parameters()),
            precision=self.precision,
            device=str(self.device),
            score=None
            if state.best is None
            else Score(dice=state.best_dice, dice_by_label=dict(state.best_dice_by_label)),
        )


def _said(score: Score) -> dict[str, float | dict[str, float | None]]:
    return {"validation_dice": score.dice, "validation_dice_by_label": score.dice_by_label}


def _precision(recipe: Recipe, network: nn.Module, device: torch.device, *, views: int) -> Precision:
    """Return what the recipe asks for, but float32 where this processor's gradients in bfloat16 are wrong."""
    how, before = recipe.training, recipe.pretraining
    precision = resolve_precision(how.precision, device, proven_bfloat16=_SAFE_BFLOAT16)
    if precision == "float32" or device.type != "cpu":
        return precision
    shapes = [(how.batch, views, *recipe.model.patch)]
    if before is not None:
        shapes.append((before.batch, views, *(before.patch or recipe.model.patch)))
    wrong = wrong_in_bfloat16(network, shapes)
    if not wrong:
        return precision
    _log.warning(
        "bfloat16_is_wrong_here",
        network=recipe.model.network,
        convolutions=[str(one) for one in wrong],
        precision="float32",
    )
    return "float32"
