"""Everything that a result consists of, written for a whole head with its truth as the answer; no model runs."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from console.benchmark.figures import Benchmark, Figure, benchmark
from console.benchmark.marked import marked, phantom_labels, read_series
from ichor.store import write_durably
from models.phantoms import LesionRequest, PhantomPlan, write_phantom
from worker.output.write import write_all

if TYPE_CHECKING:
    from models.spec import ModelSpec

LESIONS = (LesionRequest(kind="iph", volume_ml=15.0, side="left"), LesionRequest(kind="sdh", volume_ml=12.0))
PLAIN = "the same bytes, written and synced"


def measure_writing(spec: ModelSpec, *, slices: int, runs: int) -> Benchmark:
    """Write `runs` times and give medians, beside the same bytes written plainly."""
    with tempfile.TemporaryDirectory(prefix="ichor-bench-") as scratch:
        folder = Path(scratch)
        write_phantom(folder, PhantomPlan(lesions=LESIONS, slice_thickness_mm=1.0, slices=slices))
        context = marked(*read_series([folder / "dicom"]), phantom_labels(folder), spec)
        out = folder / "result"
        write_all(context, out)  # imports and fonts
        wall_s, processor_s, plain_s = [], [], []
        for _ in range(runs):
            began_s, busy_s = time.perf_counter(), time.process_time()
            write_all(context, out)
            wall_s.append(time.perf_counter() - began_s)
            processor_s.append(time.process_time() - busy_s)
            contents = [path.read_bytes() for path in sorted(out.iterdir())]
            began_s = time.perf_counter()
            for number, content in enumerate(contents):
                write_durably(folder / "plain" / f"{number}", [content])
            plain_s.append(time.perf_counter() - began_s)
    peer_s = statistics.median(plain_s)
    figures = tuple(
        Figure(what=what, value=seconds, unit="s", ratio=seconds / peer_s, peer=PLAIN)
        for what, seconds in (
            (PLAIN, peer_s),
            ("SEG, two reports, summary, picture", statistics.median(wall_s)),
            ("of it on the processor", statistics.median(processor_s)),
        )
    )
    title = f"Writing a result of {len(context.source)} slices, {sum(map(len, contents)) / 1e6:.1f} MB"
    return benchmark(title, f"ichor benchmark write --slices {slices} --runs {runs}", figures)
