"""What SEG and SR both say of the model that spoke: one set of facts, so that the two never differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.output.context import WriteContext


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmFacts:
    """Name, version, and what else fixes the answer: digest, members, precision, plan."""

    name: str
    version: str
    parameters: dict[str, str]


def algorithm_facts(ctx: WriteContext) -> AlgorithmFacts:
    """Give the facts of an analysed result; raise ValueError where it names no model."""
    model = ctx.result.model
    if model is None:
        raise ValueError("An analysed result names its model.")
    return AlgorithmFacts(
        name=model.name,
        version=model.version,
        parameters={
            "digest": model.digest,
            "members": str(model.members),
            "precision": model.precision,
            "plan": "" if ctx.plan is None else ctx.plan.digest,
        },
    )
