"""How much faster `h2aseg segment` is on several Dask workers: `python -m benchmarks.workers -i IMAGES -m MODEL`.

Real inference on the CPU, one thread per worker. The cohort is segmented by one worker and by several in turn, after a
few cases that start Python and load the model. Give it as many free cores as workers. Further options are those of
`h2aseg segment`, for instance --disable_tta.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from distributed import LocalCluster

from h2aseg_nnunet.cli import main as h2aseg
from h2aseg_nnunet.petct.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__.splitlines()[0])
    parser.add_argument("-i", dest="images", type=Path, required=True, help="folder of nnU-Net images")
    parser.add_argument("-m", dest="model", type=Path, required=True, help="results folder of a trained model")
    parser.add_argument("-o", dest="output", type=Path, default=Path("workers.json"), help="results, JSON")
    parser.add_argument("--workers", type=int, default=2, help="number of workers beside one (default: 2)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds; medians count (default: 2)")
    options, further = parser.parse_known_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    seconds: dict[int, list[float]] = {1: [], options.workers: []}
    for _ in range(options.rounds):
        for workers, times in seconds.items():
            times.append(_seconds(options.images, options.model, workers, further))
            print(f"{workers} workers: {times[-1]:.0f} s", flush=True)
    alone, together = (statistics.median(times) for times in seconds.values())
    print(f"{options.workers} workers are {alone / together:.2f} times as fast as one")
    write_json(options.output, {"seconds": seconds, "times_as_fast": alone / together})


def _seconds(images: Path, model: Path, workers: int, further: list[str]) -> float:
    """Of the whole command, on workers that hold the model."""
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        tempfile.TemporaryDirectory() as folder,
    ):
        first = Path(folder) / "first"
        first.mkdir()
        files = sorted(images.glob("*_0000.*"))[: 2 * workers]
        for file in (other for each in files for other in images.glob(each.name.replace("_0000.", "_*."))):
            (first / file.name).symlink_to(file.resolve())
        for name, cases in (("warm", first), ("timed", images)):
            began = time.monotonic()
            command = ["segment", "-i", str(cases), "-m", str(model), "-o", f"{folder}/{name}", "-device", "cpu"]
            command += ["--output-type", "nifti", "--scheduler", cluster.scheduler_address, *further]
            if h2aseg(command) != 0:
                raise SystemExit("Cases were refused, as told above: without them the times say nothing.")
        return time.monotonic() - began


if __name__ == "__main__":
    main()
