import json
import shutil
import sys

import pytest

from studies.pet_schemes import main
from tests.locations import DATA


def run(monkeypatch, file):
    monkeypatch.setattr(sys, "argv", ["pet_schemes", str(file)])
    main()


@pytest.fixture
def plans_file(tmp_path):
    return shutil.copy(DATA / "nnUNetPlans.json", tmp_path / "nnUNetPlans.json")


def test_pet_alone_is_normalized_otherwise(monkeypatch, tmp_path, plans_file):
    before = json.loads(plans_file.read_text())["configurations"]["3d_fullres"]

    run(monkeypatch, plans_file)

    for ending, scheme in (("CT", "CTNormalization"), ("PET", "ZScoreNormalization"), ("SUV", "NoNormalization")):
        other = json.loads((tmp_path / f"nnUNetPlans{ending}.json").read_text())
        after = other["configurations"]["3d_fullres"]
        assert other["plans_name"] == f"nnUNetPlans{ending}"
        assert after["normalization_schemes"] == ["CTNormalization", scheme]
        assert after["data_identifier"] == before["data_identifier"] + ending
        changed = ("normalization_schemes", "use_mask_for_norm", "data_identifier")
        assert {key: after[key] for key in after if key not in changed} == {
            key: before[key] for key in before if key not in changed
        }


def test_plans_of_other_channels_are_refused(monkeypatch, plans_file):
    plans = json.loads(plans_file.read_text())
    plans["configurations"]["3d_fullres"]["normalization_schemes"] = ["CTNormalization"] * 3
    plans_file.write_text(json.dumps(plans))

    with pytest.raises(SystemExit, match="two channels"):
        run(monkeypatch, plans_file)
