"""A pre-training: steps of one task, checkpoints, and the weights that the training begins with.

Interrupted, it goes on as the training does, and takes the same course.
"""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import structlog
import torch
from torch import nn

from ichor.errors import PermanentError
from models.engines.hardware import DTYPES
from models.engines.memory import is_out_of_memory
from models.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from models.training.curve import Curve
from models.training.event_log import EventLog
from models.training.patches import Patches, chance
from models.training.pretraining.classification import Classification
from models.training.pretraining.contrast import Contrast
from models.training.pretraining.features import Taps
from models.training.pretraining.restoration import Restoration
from models.training.recipe import plain_of
from models.training.schedule import learning_rate_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from models.segmenter import Precision
    from models.training.pretraining.material import Material
    from models.training.recipe import PretrainingRecipe, Recipe

CHECKPOINT, CURVE = "checkpoint.pt", "curve.jsonl"

_CLIP = 5.0  # norm of the gradient
_CHANCE = 1  # apart from that of the training itself

_log = structlog.get_logger()


class PretrainingFailed(PermanentError):
    """The pre-training cannot go on."""

    code = "pretraining"


class Task(Protocol):
    """What is learnt without masks; the head is no part of the network."""

    @property
    def head(self) -> nn.Module:
        """Return what only the task needs."""

    def loss(self, material: Material, random: np.random.Generator, device: torch.device) -> torch.Tensor:
        """Return the loss of one batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it runs."""

    device: torch.device
    precision: Precision


def pretrain(
    recipe: Recipe,
    seed: int,
    network: nn.Module,
    material: Material,
    place: Path,
    machine: Machine,
    *,
    on_progress: Callable[[float], None] | None = None,
) -> None:
    """Pre-train a network in place, in a folder of its own, going on where an earlier run there stopped.

    Raises ModelError where the network has no levels to hold on to, CheckpointUnfit where the folder is another's, and
    PretrainingFailed where the loss is no number.
    """
    how = recipe.pretraining
    if how is None:
        raise PretrainingFailed("The recipe says nothing of a pre-training.")
    place.mkdir(parents=True, exist_ok=True)
    if recipe.model.mirror_image:
        halved = [one.halved(recipe.model.spacing_zyx_mm) for one in material.samples]
        material = replace(material, samples=halved)
    task = _task(recipe, how, network)
    whole = nn.ModuleDict({"network": network, "head": task.head}).to(machine.device).train()
    optimiser = torch.optim.AdamW(whole.parameters(), lr=how.learning_rate, weight_decay=recipe.training.weight_decay)
    run = run_of(recipe, seed, material)
    state = load_checkpoint(place / CHECKPOINT, run)
    if state is None:
        state = Checkpoint.at_start(run)
    else:
        whole.load_state_dict(state.network)
        optimiser.load_state_dict(dict(state.optimiser))
    if state.step == how.steps:  # of this training's earlier run, or of another's that shares it
        return
    with (
        closing(Curve(place / CURVE, after_step=state.step)) as curve,
        closing(EventLog(place, after_step=state.step)) as events,
    ):
        for step in range(state.step + 1, how.steps + 1):
            rate = learning_rate_at(step, how)
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad(set_to_none=True)
            loss = _gradients(task, material, chance(seed, step, 0, _CHANCE), machine)
            if not math.isfinite(loss):
                raise PretrainingFailed(f"The loss of step {step} is no number: a lower learning_rate may help.")
            torch.nn.utils.clip_grad_norm_(whole.parameters(), _CLIP)
            optimiser.step()
            point = {"step": step, "loss": loss, "learning_rate": rate}
            curve.add(point)
            events.add(point)
            if step % recipe.training.checkpoint_every == 0 or step == how.steps:
                state = replace(state, step=step, network=whole.state_dict(), optimiser=optimiser.state_dict())
                save_checkpoint(place / CHECKPOINT, state)
            if on_progress is not None:
                on_progress(step / how.steps)
    _log.info("pretrained", kind=how.kind, seed=seed, steps=how.steps)


def _gradients(task: Task, material: Material, random: np.random.Generator, machine: Machine) -> float:
    """Lay the gradients of one batch into the task's parameters; return its loss."""
    wanted = DTYPES[machine.precision]
    try:
        with torch.autocast(machine.device.type, dtype=wanted, enabled=wanted is not torch.float32):
            loss = task.loss(material, random, machine.device)
        loss.backward()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise PretrainingFailed("The memory is too small: a smaller pretraining.batch may help.") from error
    return float(loss.detach())


def run_of(recipe: Recipe, seed: int, material: Material) -> str:
    """Return the hash over all that decides the weights: not over how many masks are seen afterwards."""
    plain = plain_of(recipe)
    deciding = {key: plain[key] for key in ("model", "augmentation", "labels")}
    pretraining = {key: value for key, value in plain["pretraining"].items() if key != "data"}
    training = {key: plain["training"][key] for key in ("weight_decay", "on_lesion", "precision")}
    deciding |= {"pretraining": pretraining, "training": training, "seed": seed}
    text = json.dumps({**deciding, "material": material.digest}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _task(recipe: Recipe, how: PretrainingRecipe, network: nn.Module) -> Task:
    on_blood = recipe.training.on_lesion if how.uses_slices else 0.0
    model = recipe.model if how.patch is None else replace(recipe.model, patch=how.patch)
    patches = replace(Patches.of(replace(recipe, model=model)), batch=how.batch, on_lesion=on_blood)
    views = patches.preparation.views
    taps = Taps.on(network, classes=len(recipe.labels) + 1, sides=model.patch, views=views)
    slices = 1 + patches.preparation.axis(0)
    if how.kind == "context-restoration":
        return Restoration.of(taps, patches)
    if how.kind in {"global-contrastive", "local-contrastive"}:
        return Contrast.of(taps, patches, slice_axis=slices, local=how.kind == "local-contrastive")
    kinds = 1 if how.kind == "binary-classification" else 1 + sum(label.haemorrhage for label in recipe.label_specs)
    return Classification.of(taps, patches, slice_axis=slices, kinds=kinds)
