"""Train `phantom-demo`, the small network that the project ships, on the project's own phantoms.

    python -m models.training.phantom_demo --out DIR

writes `phantom-demo.safetensors`, its spec and its model card; run again, it goes on where it was interrupted. About a
quarter of an hour on two cores with bfloat16 units. Seeded: the cases are the same everywhere, the weights up to the
rounding of the machine's arithmetic.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import structlog

from models.engines.loading import load_same_size
from models.training.entry import write_weights
from models.training.phantom_cases import HELD_OUT_SEED, SPACING_ZYX_MM, TRAINING_SEED, Case, make_case
from models.training.phantom_demo_card import MODEL, write_card, write_spec
from models.training.phantom_figures import CaseFigures, Figures, compare, summarise
from models.training.recipe import ModelRecipe, Recipe, TrainingRecipe
from models.training.sample import Sample
from models.training.trainer import Heads, train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.segmenter import Segmenter

_log = structlog.get_logger()

CASES, HELD_OUT = 200, 32
WORKSHOP = "training"
RECIPE = Recipe(
    name=MODEL,
    title="Phantom demo (never for patients)",
    labels=("IPH", "EAH", "oedema", "IVH"),
    model=ModelRecipe(
        network="phantom-unet",
        network_parameters={"channels": [12, 24, 48, 72]},
        spacing_zyx_mm=SPACING_ZYX_MM,
        patch=(16, 64, 64),
        window=(32, 128, 128),
        hu_windows=((-20.0, 120.0),),
    ),
    training=TrainingRecipe(
        steps=2400, batch=4, learning_rate=5e-3, weight_decay=1e-4, loss="dice-ce-present", device="cpu"
    ),
)


def make_cases(seeds: Sequence[int], processes: int) -> list[Case]:
    """Make the cases of these seeds, several at once."""
    with ProcessPoolExecutor(max_workers=processes) as pool:
        return list(pool.map(make_case, seeds, chunksize=4))


def heads_of(cases: Sequence[Case]) -> Heads:
    """Return phantoms as the trainer takes them; nothing validates, the last weights are kept."""
    samples = [Sample.of(str(case.seed), case.hu_zyx, case.labels_zyx, case.hu_zyx > -1023) for case in cases]
    seeds = ",".join(sample.name for sample in samples)
    return Heads(training=samples, validation=(), digest=hashlib.sha256(seeds.encode()).hexdigest())


def measure(segmenter: Segmenter, cases: Sequence[Case]) -> Figures:
    """Measure a model on held-out cases."""
    voxel_ml = float(np.prod(SPACING_ZYX_MM)) / 1000
    results: list[CaseFigures] = []
    for case, sample in zip(cases, heads_of(cases).training, strict=True):
        said = segmenter.segment(sample.grid(SPACING_ZYX_MM)).probabilities_czyx.argmax(axis=0).astype(np.uint8)
        results.append(compare(said, case.labels_zyx, voxel_ml))
        _log.info(
            "held_out",
            seed=case.seed,
            lesions=",".join(f"{lesion.kind}:{lesion.volume_ml:.1f}" for lesion in case.lesions),
            truth_ml=round(results[-1].truth_ml, 2),
            answer_ml=round(results[-1].answer_ml, 2),
            dice=None if results[-1].dice is None else round(results[-1].dice, 3),
        )
    return summarise(results)


def main() -> None:
    """Train, measure and write."""
    parser = argparse.ArgumentParser(description="Train the phantom-demo network on synthetic heads.")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, spec and model card")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--held-out", type=int, default=HELD_OUT)
    parser.add_argument("--steps", type=int, default=RECIPE.training.steps)
    parser.add_argument("--seed", type=int, default=RECIPE.seeds[0])
    arguments = parser.parse_args()
    how = replace(RECIPE.training, steps=arguments.steps, threads=arguments.threads)
    recipe = replace(RECIPE, seeds=(arguments.seed,), training=how)
    started = time.monotonic()
    cases = make_cases(range(TRAINING_SEED, TRAINING_SEED + arguments.cases), arguments.threads)
    held_out = make_cases(range(HELD_OUT_SEED, HELD_OUT_SEED + arguments.held_out), arguments.threads)
    _log.info("cases_made", cases=len(cases), held_out=len(held_out), seconds=round(time.monotonic() - started))
    trained = train(recipe, arguments.seed, heads_of(cases), arguments.out / WORKSHOP)
    weights = arguments.out / f"{MODEL}.safetensors"
    spec = write_spec(arguments.out / f"{MODEL}.json", recipe, write_weights(weights, trained.weights))
    segmenter = load_same_size(
        spec, [weights], members=(1,), device="cpu", precision="float32", threads=arguments.threads
    )
    figures = measure(segmenter, held_out)
    minutes = sum(os.times()[:4]) / 60  # own and children's processor time: it does not depend on what else runs
    write_card(arguments.out / f"{MODEL}.md", spec, figures, recipe=recipe, cases=arguments.cases, minutes=minutes)
    _log.info("done", minutes=round(minutes, 1), digest=spec.digest, mean_dice=round(figures.mean_dice, 4))


if __name__ == "__main__":
    main()
