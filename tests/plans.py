"""Plans that nnU-Net made, and a dataset.json, for tests that build trainers or models. Copy before you change them."""

import json
from typing import Any

from tests.locations import DATA

PLANS: dict[str, Any] = json.loads((DATA / "nnUNetPlans.json").read_text())
DATASET_JSON: dict[str, Any] = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "tumor": 1},
    "numTraining": 20,
    "file_ending": ".nii.gz",
}
