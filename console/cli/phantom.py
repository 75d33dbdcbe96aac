"""`ichor phantom`."""

from pathlib import Path
from typing import Annotated

import typer

from console.cli.display import print_json, print_table, progress_bar
from console.cli.options import ConfigOption, JsonOption, load
from console.painting.benchmark import PART as PAINTED
from console.painting.benchmark import write_painted
from console.painting.study import Canvas, paint_study
from ichor.clock import utc_now
from models.phantoms import PhantomPlan, PhantomTruth, write_phantom
from models.phantoms.benchmark import PARTS, table_sha256, write_benchmark
from models.phantoms.lesions import parse_lesion

IntoOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--into",
        metavar="DIR",
        help="A head CT of a person to draw the lesions into (iph, sdh, edh), at its own geometry; "
        "with --benchmark repeatable, its part 'painted'.",
    ),
]


def command(  # noqa: PLR0913 - each argument is an option of the command line
    out_dir: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for dicom/, truth.nii.gz, subtypes.nii.gz, truth.json.")
    ],
    *,
    lesion: Annotated[
        list[str] | None,
        typer.Option(
            "--lesion", metavar="KIND:ML[:SIDE][:lobulated][:oedema=ML]", help="iph, ivh, sah, sdh or edh; repeatable."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Decides anatomy, lesions and noise.")] = 1,
    tilt_deg: Annotated[float, typer.Option("--tilt", metavar="DEG", help="Gantry tilt.")] = 0.0,
    thickness_mm: Annotated[float, typer.Option("--thickness", metavar="MM", help="Slice thickness.")] = 5.0,
    spacing_mm: Annotated[
        float | None, typer.Option("--spacing", metavar="MM", help="Between slices; the thickness.")
    ] = None,
    gap_mm: Annotated[
        list[float] | None, typer.Option("--gap", metavar="MM", help="Each distance, foot to head; repeatable.")
    ] = None,
    slices: Annotated[int | None, typer.Option("--slices", help="How many; enough for the head.")] = None,
    matrix: Annotated[int, typer.Option("--matrix", help="Rows and columns.")] = 512,
    pixel_spacing_mm: Annotated[float, typer.Option("--pixel-spacing", metavar="MM", help="Pixel spacing.")] = 0.45,
    noise_hu: Annotated[float, typer.Option("--noise", metavar="HU", help="Standard deviation of the noise.")] = 4.5,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Write the fixed benchmark set instead: OUT/PART/NAME/.")
    ] = False,
    part: Annotated[
        list[str] | None,
        typer.Option(
            "--part", metavar="PART", help="Of the benchmark: train, test, shifted, or painted with --into; repeatable."
        ),
    ] = None,
    into: IntoOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="New UIDs, acquired now.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Write a synthetic head CT with known truth."""
    load(config)
    if benchmark:
        heads = into or []
        write_set(out_dir, part or [*PARTS, *([PAINTED] if heads else [])], heads, as_json=as_json)
        return
    lesions = tuple(parse_lesion(text) for text in lesion or ())
    if into:
        if len(into) > 1:
            raise typer.BadParameter("Without --benchmark there is one head to draw into.")
        _show(paint_study(out_dir, Canvas.of(into[0]), lesions, seed), out_dir, as_json=as_json)
        return
    plan = PhantomPlan(
        lesions=lesions,
        seed=seed,
        tilt_deg=tilt_deg,
        slice_thickness_mm=thickness_mm,
        slice_spacing_mm=spacing_mm,
        gaps_mm=tuple(gap_mm or ()),
        slices=slices,
        rows=matrix,
        columns=matrix,
        pixel_spacing_mm=pixel_spacing_mm,
        noise_hu=noise_hu,
        acquired_at=utc_now() if fresh else None,
        fresh_uids=fresh,
    )
    _show(write_phantom(out_dir, plan), out_dir, as_json=as_json)


def _show(truth: PhantomTruth, out_dir: Path, *, as_json: bool) -> None:
    if as_json:
        typer.echo(truth.to_json(), nl=False)
        return
    rows = [
        (found.kind, found.laterality, f"{found.requested_ml:.1f}", f"{found.sampled_ml:.1f}")
        for found in truth.lesions
    ]
    print_table(
        f"{truth.slices} slices in {out_dir / 'dicom'}", ("Lesion", "Side", "#Asked for, mL", "#Sampled, mL"), rows
    )


def write_set(out_dir: Path, wanted: list[str], heads: list[Path], *, as_json: bool) -> None:
    """Write parts of the benchmark and say what is there."""
    parts = tuple(part for part in PARTS if part in wanted)
    unknown = [name for name in wanted if name not in {*PARTS, PAINTED}]
    if unknown:
        raise typer.BadParameter(f"There is no part {unknown[0]!r}; there are {', '.join(PARTS)} and {PAINTED}.")
    if bool(heads) != (PAINTED in wanted):
        raise typer.BadParameter(f"The part {PAINTED} and the heads that it needs (--into) go together.")
    with progress_bar("Phantoms") as on_progress:
        studies = write_benchmark(out_dir, parts, on_progress=on_progress)
    counts: dict[str, int] = {part: sum(study.part == part for study in studies) for part in parts}
    if heads:
        with progress_bar("Painted heads") as on_progress:
            counts[PAINTED] = len(write_painted(out_dir, heads, on_progress=on_progress))
    if as_json:
        print_json({"schema": 1, "benchmark_sha256": table_sha256(), "parts": counts})
        return
    rows = [(part, str(count), str(out_dir / part)) for part, count in counts.items()]
    print_table(f"Phantom benchmark {table_sha256()[:12]}", ("Part", "#Studies", "Where"), rows)
