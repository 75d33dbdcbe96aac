"""The gate by headers: one verdict per series, each with its reason, the same in every order of arrival."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from tests.worker.geometry.scans import Plane, Scan, axial
from worker.gate import GateRules, RulesInvalid, Verdict, judge, load_rules
from worker.gate_rules import HEAD_CT
from worker.series import Series, Study, read_studies
from worker.slices import slices_of

T = TypeVar("T")


@pytest.fixture(scope="module")
def rules() -> GateRules:
    """The rules that are shipped."""
    return load_rules(None)


def stack(step_mm: float = 5.0, count: int = 28) -> Plane:
    return axial(tuple(step_mm * n for n in range(count)), spacing_mm=0.5, size=4)


def scan(plane: Plane | None = None, series: str = "series", **elements: Any) -> Scan:
    plane = stack() if plane is None else plane
    shape = (len(plane.positions), *plane.size)
    return Scan(plane=plane, stored_kji=np.zeros(shape, dtype=np.int16), series=series, elements=elements)


def study_of(*scans: Scan) -> Study:
    """Put scans into a study as if read from files."""
    series = []
    for one in scans:
        headers = tuple(one.dataset(k) for k in range(len(one.plane.positions)))
        paths = tuple(Path(f"{k}.dcm") for k in range(len(headers)))
        slices = tuple(found for path, header in zip(paths, headers, strict=True) for found in slices_of(path, header))
        series.append(
            Series(
                study_instance_uid="1.2.3",
                series_instance_uid=str(headers[0].SeriesInstanceUID),
                header=headers[0],
                headers=headers,
                slices=slices,
                paths=paths,
            )
        )
    return Study(study_instance_uid="1.2.3", series=tuple(series), unreadable=())


def judge_one(one: Scan, rules: GateRules) -> Verdict:
    (verdict,) = judge(study_of(one), rules)
    return verdict


def test_a_plain_head_ct_is_fit(rules: GateRules) -> None:
    """Nothing is refused and nothing is warned of."""
    verdict = judge_one(scan(), rules)
    assert (verdict.accepted, verdict.reasons, verdict.warnings) == (True, (), ())
    assert (verdict.series_number, verdict.description, verdict.instances) == (2, "Head", 28)


@pytest.mark.parametrize(
    ("code", "elements"),
    [
        ("not_ct", {"Modality": "MR"}),
        ("not_ct_image", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}),
        ("localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        ("derived", {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}),
        ("projection", {"ImageType": ["DERIVED", "PRIMARY", "MPR"]}),
        ("projection", {"SeriesDescription": "Head MIP 10mm"}),
        ("contrast", {"ContrastBolusAgent": "Omnipaque 350"}),
        ("contrast", {"SeriesDescription": "CTA head"}),
        ("contrast", {"SeriesDescription": "Head with contrast"}),
        ("contrast", {"SeriesDescription": "Head +C"}),
        ("contrast", {"SeriesDescription": "Brain perfusion"}),
        ("dual_energy", {"SeriesDescription": "Head Mono 70"}),
        ("dual_energy", {"SeriesDescription": "Head VNC"}),
        ("dual_energy", {"SeriesDescription": "Iodine map"}),
        ("dual_energy", {"SeriesDescription": "HEAD_VNC_3mm"}),
        ("dual_energy", {"SeriesDescription": "DE_Head Monoenergetic Plus 190 keV"}),
        ("dual_energy", {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "VMI"]}),
        ("dual_energy", {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MAT_REMOVED"]}),
        ("interventional", {"ManufacturerModelName": "AXIOM-Artis"}),
        ("interventional", {"StudyDescription": "O-arm navigation"}),
        ("perfusion", {"ProtocolName": "VPCT Perfusion"}),
        ("perfusion", {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "CBF"]}),
        ("bone_kernel", {"ConvolutionKernel": "H60s"}),
        ("bone_kernel", {"ConvolutionKernel": ["Hr64h", "3"]}),
        ("bone_kernel", {"ConvolutionKernel": "BONEPLUS"}),
        ("bone_kernel", {"ConvolutionKernel": "FC30"}),
        ("bone_kernel", {"ConvolutionKernel": "YB"}),
        ("interventional", {"SeriesDescription": "Cone-beam head"}),
        ("not_hounsfield", {"RescaleType": "Z_EFF"}),
        ("kvp", {"KVP": "40"}),
        ("thick_slices", {"SliceThickness": "12"}),
        ("under_age", {"PatientAge": "017Y"}),
        ("under_age", {"PatientAge": "011M"}),
        ("under_age", {"PatientAge": "", "PatientBirthDate": "20100102", "StudyDate": "20280101"}),
    ],
)
def test_headers_that_are_not_fit(rules: GateRules, code: str, elements: dict[str, Any]) -> None:
    """Each is refused with its own reason, and only that one."""
    verdict = judge_one(scan(**elements), rules)
    assert [reason.code for reason in verdict.reasons] == [code]
    assert not verdict.accepted


@pytest.mark.parametrize(
    "elements",
    [
        {"ContrastBolusAgent": "NONE"},
        {"ContrastBolusAgent": "no contrast given"},
        {"ContrastBolusAgent": "W/O"},
        {"SeriesDescription": "Head without contrast"},
        {"SeriesDescription": "HEAD W/O CONTRAST"},
        {"SeriesDescription": "Head non-contrast 5mm"},
        {"ConvolutionKernel": "J40s"},
        {"ConvolutionKernel": ["Hr40f", "3"]},
        {"ConvolutionKernel": "FC21"},
        {"ConvolutionKernel": "STANDARD"},
        {"ConvolutionKernel": "UB"},
        {"RescaleType": "HU"},
        {"SeriesDescription": "Head 70 mm"},
        {"ProtocolName": "HeadSeq 120 kV"},
        {"ManufacturerModelName": "Ingenuity CT"},
        {"PatientAge": "", "PatientBirthDate": "20100101", "StudyDate": "20280101"},
    ],
)
def test_headers_that_are_fit(rules: GateRules, elements: dict[str, Any]) -> None:
    """Words that only look like a reason are none."""
    verdict = judge_one(scan(**elements), rules)
    assert (verdict.accepted, verdict.warnings) == (True, ())


@pytest.mark.parametrize(
    ("code", "elements"),
    [
        ("age_unknown", {"PatientAge": ""}),
        ("kvp_unusual", {"KVP": "80"}),
        ("other_body_part", {"BodyPartExamined": "CHEST"}),
        ("other_region_named", {"SeriesDescription": "C-spine 2mm"}),
        ("derived_primary", {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}),
    ],
)
def test_headers_that_ask_for_care(rules: GateRules, code: str, elements: dict[str, Any]) -> None:
    """The series stays fit, since its content decides, and the result carries the warning."""
    verdict = judge_one(scan(**elements), rules)
    assert verdict.accepted
    assert [warning.code for warning in verdict.warnings] == [code]


def without(*positions: int) -> Plane:
    kept = [place for n, place in enumerate(stack().positions) if n not in positions]
    return Plane(positions=tuple(kept), spacing=(0.5, 0.5), size=(4, 4))


@pytest.mark.parametrize(
    ("kernel", "soft"),
    [("H31s", True), ("STANDARD", True), (["Hr40f", "3"], True), ("UB", True), ("H60s", False), ("Q", False)],
)
def test_a_kernel_is_soft_by_name_or_unknown(rules: GateRules, kernel: Any, *, soft: bool) -> None:
    """Only a name that is known to be smooth keeps the noise from having a say."""
    assert judge_one(scan(ConvolutionKernel=kernel), rules).soft_kernel is soft


CORONAL = Plane(
    positions=tuple((0.0, 5.0 * n, 0.0) for n in range(28)), row=(1.0, 0.0, 0.0), column=(0.0, 0.0, -1.0), size=(4, 4)
)


@pytest.mark.parametrize(
    ("code", "plane"),
    [
        ("single_slice", stack(count=1)),
        ("too_few_slices", stack(step_mm=8.0, count=7)),
        ("short_scan", stack(step_mm=1.0, count=20)),
        ("wide_gap", stack(step_mm=15.0, count=12)),
        ("wide_gap", without(10, 11, 12)),
        ("not_axial", CORONAL),
        ("coarse_pixels", Plane(positions=stack().positions, spacing=(1.5, 1.5), size=(4, 4))),
    ],
)
def test_stacks_that_are_not_fit(rules: GateRules, code: str, plane: Plane) -> None:
    """Too few, too short, too far apart, lying wrongly: each in its own words."""
    verdict = judge_one(scan(plane), rules)
    assert code in [reason.code for reason in verdict.reasons]


def test_a_missing_slice_is_bridged_with_a_warning(rules: GateRules) -> None:
    """One lost slice of 5 mm leaves a gap of 10 mm: analysed, and said."""
    verdict = judge_one(scan(without(10)), rules)
    assert verdict.accepted
    assert [warning.code for warning in verdict.warnings] == ["missing_slices", "wide_step"]


def test_values_without_rescale_are_no_hounsfield_units(rules: GateRules) -> None:
    """A CT without RescaleSlope cannot be measured."""
    verdict = judge_one(scan(RescaleSlope=None), rules)
    assert [reason.code for reason in verdict.reasons] == ["no_hounsfield"]


def sample(values: tuple[T, ...], seed: int) -> tuple[T, ...]:
    return tuple(random.Random(seed).sample(values, len(values)))


def test_the_best_series_comes_first_in_every_order(rules: GateRules) -> None:
    """Soft kernel before unnamed, adequate before thin steps, fit before unfit; the order of files has no say."""
    scans = {
        "best": scan(stack(3.0, 48), series="best"),
        "thick": scan(series="thick"),
        "very thin": scan(stack(0.8, 145), series="very thin"),
        "partial": scan(stack(3.0, 20), series="partial"),
        "unnamed kernel": scan(stack(3.0, 48), series="unnamed kernel", ConvolutionKernel="Q"),
        "bone": scan(stack(1.0, 60), series="bone", ConvolutionKernel="H60s"),
        "scout": scan(stack(count=1), series="scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    }
    names = {str(one.dataset(0).SeriesInstanceUID): name for name, one in scans.items()}
    study = study_of(*scans.values())
    for seed in range(5):
        shuffled = [replace(one, slices=sample(one.slices, seed)) for one in sample(study.series, seed)]
        verdicts = judge(replace(study, series=tuple(shuffled)), rules)
        order = [names[verdict.series_instance_uid] for verdict in verdicts]
        assert order[:5] in (
            ["best", "thick", "very thin", "partial", "unnamed kernel"],
            ["best", "very thin", "thick", "partial", "unnamed kernel"],
        )
        assert order[5:] == ["bone", "scout"]
        assert [verdict.accepted for verdict in verdicts] == [True] * 5 + [False] * 2


def test_real_studies(test_data_dir: Path, rules: GateRules) -> None:
    """GE and Philips axial series pass the headers; localizer and captures never do."""
    accepted, refused = [], {}
    for study in read_studies([test_data_dir]):
        for verdict in judge(study, rules):
            if verdict.accepted:
                accepted.append(verdict.series_number)
            else:
                refused[verdict.series_number] = verdict.reasons[0].code
    assert sorted(map(str, accepted)) == ["2", "201"]
    assert refused == {100: "localizer", 401: "not_ct_image"}


def test_texts_fit_into_a_sentence(rules: GateRules) -> None:
    """Reasons are read in the middle of a sentence: no full stop, no capital but in names."""
    for text in [rule.text for rule in (*rules.refuse, *rules.warn)] + [limit.text for limit in rules.limits]:
        assert not text.endswith(".")
        assert text[0].islower()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda text: text + "\nsurprise = 1\n", "surprise"),
        (lambda text: text.replace("min_slices = 8", "min_slices = 1"), "min_slices"),
        (lambda text: text.replace("pattern = '\\w'", "pattern = '['"), "pattern"),
        (lambda text: text.replace('unless = ["CT"]', ""), "one of equals"),
        (lambda _: "not [valid", "not valid"),
    ],
)
def test_rules_are_read_strictly(tmp_path: Path, change: Callable[[str], str], named: str) -> None:
    """A rule file with a fault is refused, and the fault is named."""
    path = tmp_path / "rules.toml"
    path.write_text(change(HEAD_CT.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(RulesInvalid, match=named):
        load_rules(path)
    with pytest.raises(RulesInvalid, match="cannot be read"):
        load_rules(tmp_path / "nowhere.toml")


def test_a_series_of_two_patients_is_not_analysed(rules: GateRules) -> None:
    """Whose head it is cannot be told, however few of its images name another patient."""
    study = study_of(scan(PatientID="A", PatientName="Zz^One"))
    study.series[0].headers[-1].PatientID = "B"
    (verdict,) = judge(study, rules)
    assert "several_registrations" in {reason.code for reason in verdict.reasons}
    (verdict,) = judge(study_of(scan(PatientID="A", PatientName="Zz^One")), rules)
    assert "several_registrations" not in {reason.code for reason in verdict.reasons}
