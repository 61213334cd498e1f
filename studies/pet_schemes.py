"""Give plans other normalizations of PET, to be compared on equal folds: `python -m studies.pet_schemes PLANS.json`.

nnU-Net chooses the normalization by the channel's name in dataset.json when it plans. Here plans NAME become NAMECT,
which normalize PET as CT, NAMEPET, which standardize each PET by itself, and NAMESUV, which keep SUV. Spacing, patch
and batch stay: `h2aseg compare --trainers TRAINER:NAMECT TRAINER:NAMEPET TRAINER:NAMESUV` is a paired comparison.
"""

import argparse
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from h2aseg_nnunet.modalities import CT_NORMALIZATION, NO_NORMALIZATION, PET
from h2aseg_nnunet.petct.files import write_json

SCHEMES = {"CT": CT_NORMALIZATION, "PET": "ZScoreNormalization", "SUV": NO_NORMALIZATION}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.pet_schemes", description=__doc__.splitlines()[0])
    parser.add_argument("plans", type=Path, help="nnUNet_preprocessed/DATASET/NAME.json, of CT and PET")
    file = parser.parse_args().plans
    plans = json.loads(file.read_text())
    for ending, scheme in SCHEMES.items():
        other = with_scheme(plans, ending, scheme)
        write_json(file.with_name(f"{other['plans_name']}.json"), other)


def with_scheme(plans: dict[str, Any], ending: str, scheme: str) -> dict[str, Any]:
    """Return plans of another name and preprocessed folder in which PET has another normalization."""
    other = deepcopy(plans)
    other["plans_name"] = plans["plans_name"] + ending
    for configuration in other["configurations"].values():
        if "normalization_schemes" not in configuration:
            continue  # it inherits them
        if len(configuration["normalization_schemes"]) != 2:
            raise SystemExit(f"{plans['plans_name']} was not planned for two channels, CT and PET.")
        configuration["normalization_schemes"] = [CT_NORMALIZATION, scheme]
        configuration["use_mask_for_norm"][PET] = False
        configuration["data_identifier"] += ending
    return other


if __name__ == "__main__":
    main()
