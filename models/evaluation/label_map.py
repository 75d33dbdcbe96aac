"""What the numbers in a mask mean, and what two masks with different numbers can be compared on.

Three kinds of truth are about: BLAST-CT's four classes, BHSD's five subtypes, and plain masks (0/1 or 0/255). They
meet on the finest classes that both can tell apart; "any" is every haemorrhage. Oedema is never haemorrhage and never
scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from ichor.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.spec import LabelSpec, ModelSpec

ANY = "any"
OEDEMA = "oedema"
UNTYPED = "ICH"
"""What a model's spec calls haemorrhage whose type it does not tell."""
BLEEDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        ANY: frozenset({"IPH", "IVH", "SAH", "SDH", "EDH"}),
        "IPH": frozenset({"IPH"}),
        "IVH": frozenset({"IVH"}),
        "EAH": frozenset({"SAH", "SDH", "EDH"}),  # extra-axial, type not told
        "SAH": frozenset({"SAH"}),
        "SDH": frozenset({"SDH"}),
        "EDH": frozenset({"EDH"}),
    }
)
"""Every name that a class may have, with the subtypes that it stands for."""


class BadLabelMap(PermanentError):
    """The label map is not usable."""

    code = "label_map"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMap:
    """The classes of a kind of mask, by voxel value; 0 is always background."""

    name: str
    classes: tuple[tuple[int, str], ...]

    def __post_init__(self) -> None:
        """Refuse values twice, 0, and names that stand for nothing."""
        values = [value for value, _ in self.classes]
        if len(set(values)) != len(values) or not all(1 <= value <= 255 for value in values):
            raise BadLabelMap(f"In the label map {self.name!r}, values must be 1 to 255, each once.")
        for _, class_name in self.classes:
            if class_name not in BLEEDS and class_name != OEDEMA:
                known = ", ".join([*BLEEDS, OEDEMA])
                raise BadLabelMap(f"In the label map {self.name!r}, {class_name!r} is none of {known}.")

    @property
    def values(self) -> frozenset[int]:
        """All values that a mask of this kind may hold besides 0."""
        return frozenset(value for value, _ in self.classes)

    @property
    def subtypes(self) -> frozenset[str]:
        """The subtypes of haemorrhage that this kind of mask marks, told apart or not."""
        return frozenset().union(*(BLEEDS.get(name, frozenset()) for _, name in self.classes))

    def values_of(self, class_name: str) -> frozenset[int] | None:
        """Return the values that together are just that class; None where this mask does not tell it apart."""
        wanted = self.subtypes if class_name == ANY else BLEEDS[class_name]
        found = {value: BLEEDS[name] for value, name in self.classes if name in BLEEDS and BLEEDS[name] <= wanted}
        covered = frozenset().union(*found.values()) if found else frozenset()
        return frozenset(found) if covered == wanted and wanted else None


BINARY = LabelMap(name="binary", classes=((1, ANY), (255, ANY)))
FOUR_CLASS = LabelMap(name="four-class", classes=((1, "IPH"), (2, "EAH"), (3, OEDEMA), (4, "IVH")))
FIVE_SUBTYPE = LabelMap(
    name="five-subtype", classes=((1, "EDH"), (2, "IPH"), (3, "IVH"), (4, "SAH"), (5, "SDH"))
)  # BHSD and MBH-Seg
LABEL_MAPS: Mapping[str, LabelMap] = MappingProxyType({each.name: each for each in (BINARY, FOUR_CLASS, FIVE_SUBTYPE)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedClass:
    """A class that truth and answer both tell apart, with each one's values."""

    name: str
    truth_values: frozenset[int]
    answer_values: frozenset[int]


def compared_classes(truth: LabelMap, answer: LabelMap) -> tuple[ComparedClass, ...]:
    """Return what can be compared, "any" first; classes that stand for the same as "any" are not named twice."""
    classes = []
    seen: set[tuple[frozenset[int], frozenset[int]]] = set()
    for name in BLEEDS:
        of_truth, of_answer = truth.values_of(name), answer.values_of(name)
        if of_truth is None or of_answer is None or (of_truth, of_answer) in seen:
            continue
        seen.add((of_truth, of_answer))
        classes.append(ComparedClass(name=name, truth_values=of_truth, answer_values=of_answer))
    if not classes:
        raise BadLabelMap(f"Masks of the kinds {truth.name!r} and {answer.name!r} hold no haemorrhage to compare.")
    return tuple(classes)


def unlike_subtypes(truth: LabelMap, answer: LabelMap) -> frozenset[str]:
    """Return the subtypes that only one of the two marks: "any" then compares unlike things."""
    return truth.subtypes ^ answer.subtypes


def parse_label_map(text: str) -> LabelMap:
    """Read `four-class`, `five-subtype`, `binary`, or pairs such as `1=IPH,2=IVH,3=oedema`."""
    if text in LABEL_MAPS:
        return LABEL_MAPS[text]
    classes = []
    for pair in text.split(","):
        value, equals, name = pair.strip().partition("=")
        if not equals or not value.strip().isdigit():
            known = ", ".join(LABEL_MAPS)
            raise BadLabelMap(f"{text!r} is none of {known}, and not of the form 1=IPH,2=IVH.")
        classes.append((int(value), name.strip()))
    return LabelMap(name=text, classes=tuple(classes))


def label_map_of(spec: ModelSpec) -> LabelMap:
    """Return the label map of what a model paints; raise BadLabelMap where a label is no known bleed."""
    return LabelMap(
        name=spec.name,
        classes=tuple((label.index, class_of(label)) for label in spec.labels),
    )


def class_of(label: LabelSpec) -> str:
    """Return the class that a model's label paints."""
    if not label.haemorrhage:
        return OEDEMA
    return ANY if label.name == UNTYPED else label.name
