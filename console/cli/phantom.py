"""`ichor phantom`."""

from pathlib import Path
from typing import Annotated

import typer

from console.cli.display import print_json, print_table, progress_bar
from console.cli.options import ConfigOption, JsonOption, load
from ichor.clock import utc_now
from models.phantoms import PhantomPlan, write_phantom
from models.phantoms.benchmark import PARTS, table_sha256, write_benchmark
from models.phantoms.lesions import parse_lesion


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
        typer.Option("--part", metavar="PART", help="Part of the benchmark: train, test or shifted; repeatable; all."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="New UIDs, acquired now.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Write a synthetic head CT with known truth."""
    load(config)
    if benchmark:
        write_set(out_dir, part or list(PARTS), as_json=as_json)
        return
    plan = PhantomPlan(
        lesions=tuple(parse_lesion(text) for text in lesion or ()),
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
    truth = write_phantom(out_dir, plan)
    if as_json:
        typer.echo((out_dir / "truth.json").read_text(encoding="utf-8"), nl=False)
        return
    rows = [
        (found.kind, found.laterality, f"{found.requested_ml:.1f}", f"{found.sampled_ml:.1f}")
        for found in truth.lesions
    ]
    print_table(
        f"{truth.slices} slices in {out_dir / 'dicom'}", ("Lesion", "Side", "#Asked for, mL", "#Sampled, mL"), rows
    )


def write_set(out_dir: Path, wanted: list[str], *, as_json: bool) -> None:
    """Write parts of the benchmark and say what is there."""
    parts = tuple(part for part in PARTS if part in wanted)
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        raise typer.BadParameter(f"There is no part {unknown[0]!r}; there are {', '.join(PARTS)}.")
    with progress_bar("Phantoms") as on_progress:
        studies = write_benchmark(out_dir, parts, on_progress=on_progress)
    counts = {part: sum(study.part == part for study in studies) for part in parts}
    if as_json:
        print_json({"schema": 1, "benchmark_sha256": table_sha256(), "parts": counts})
        return
    rows = [(part, str(count), str(out_dir / part)) for part, count in counts.items()]
    print_table(f"Phantom benchmark {table_sha256()[:12]}", ("Part", "#Studies", "Where"), rows)
