"""Paired differences of finished evaluations: `python -m benchmarks.paired A.json B.json ...`.

Each file is what `h2aseg evaluate --metrics autopet -o FILE` wrote about the same cases; the first is the reference.
"""

import argparse
import json
import math
from pathlib import Path

from h2aseg_nnunet.compare.collect import MEASURES
from h2aseg_nnunet.compare.statistics import Difference, describe, paired_differences
from h2aseg_nnunet.evaluation.aggregate import summarize


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paired", description=__doc__.splitlines()[0])
    parser.add_argument("evaluations", type=Path, nargs="+")
    reference, *others = parser.parse_args().evaluations
    print(f"| | measure | cases | mean | minus {reference.stem} | Wilcoxon p |\n|---|---|---|---|---|---|")
    for measure in MEASURES:
        expected = values(reference, measure)
        print(f"| {reference.stem} | {measure} | {summary(expected)} | | |")
        for file in others:
            given = values(file, measure)
            difference = describe(list(paired_differences(expected, given).values()))
            print(f"| {file.stem} | {measure} | {summary(given)} | {change(difference)} |")


def values(file: Path, measure: str) -> dict[str, float]:
    cases = json.loads(file.read_text())["cases"]
    return {case: math.nan if found[measure] is None else found[measure] for case, found in cases.items()}


def summary(cases: dict[str, float]) -> str:
    defined = [value for value in cases.values() if not math.isnan(value)]
    found = summarize(defined)
    low, high = found["interval_95"]
    return f"{len(defined)} | {found['mean']:.3f} [{low:.3f}, {high:.3f}]"


def change(difference: Difference) -> str:
    low, high = difference.interval_95
    return f"{difference.mean:+.3f} [{low:+.3f}, {high:+.3f}] | {difference.wilcoxon_p:.3g}"


if __name__ == "__main__":
    main()
