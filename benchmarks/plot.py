"""The picture of docs/performance.md, from what benchmarks.run measured: `python -m benchmarks.plot RESULTS`."""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.networks import REFERENCE
from h2aseg_nnunet.petct.files import replacing

COLORS = {"H2ASeg by": "tab:gray", "H2ASeg": "tab:blue", "plain": "tab:orange", "ResEnc": "tab:green"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="what benchmarks.run wrote")
    parser.add_argument(
        "-o", dest="picture", type=Path, default=Path("docs/images/performance.png"), help="default: %(default)s"
    )
    options = parser.parse_args()
    draw(json.loads(options.results.read_text()), options.picture)


def draw(results: dict, picture: Path) -> None:
    """Time and memory of every network beside each other, and growth with the patch; needs saved, step and scaling."""
    figure, (memory, time, growth) = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    _bars(memory, {name: modules["total"] / 1e9 for name, modules in _measured(results["saved"]).items()})
    memory.set_title("saved for backward, GB")
    reference = results["step"][REFERENCE]["median"]
    _bars(time, {name: seconds["median"] / reference for name, seconds in _measured(results["step"]).items()})
    time.set_title(f"training step, times {REFERENCE}")
    time.set_yticklabels([])
    _growth(growth, _measured(results["scaling"])["patch"])
    with replacing(picture) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)


def _measured(part: dict) -> dict:
    return {name: value for name, value in part.items() if name != "environment"}


def _bars(axes: Axes, values: dict[str, float]) -> None:
    names = list(values)
    colors = [next(color for start, color in COLORS.items() if name.startswith(start)) for name in names]
    bars = axes.barh(range(len(names)), list(values.values()), color=colors)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)


def _growth(axes: Axes, patch: dict) -> None:
    """Peak memory of a training step over voxels; a straight line of slope 1 is proportional."""
    for name, series in patch.items():
        points = series["points"]
        color = next(color for start, color in COLORS.items() if name.startswith(start))
        label = f"{name}, exponent {series['growth']['peak_bytes']:.2f}"
        voxels, peaks = ([point[key] for point in points] for key in ("voxels", "peak_bytes"))
        axes.loglog(voxels, [peak / 1e9 for peak in peaks], "o-", color=color, label=label)
    axes.set_title("peak of a training step, GB")
    axes.set_xlabel("voxels of the patch")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
