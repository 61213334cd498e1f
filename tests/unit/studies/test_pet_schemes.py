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
    plans = json.loads(plans_file.read_text())
    for configuration in plans["configurations"].values():
        if "normalization_schemes" in configuration:
            configuration["normalization_schemes"] = ["CTNormalization"] * 2
    plans_file.write_text(json.dumps(plans))

    run(monkeypatch, plans_file)

    for ending, scheme in (("PET", "ZScoreNormalization"), ("SUV", "NoNormalization")):
        other = json.loads((tmp_path / f"nnUNetPlans{ending}.json").read_text())
        before, after = (each["configurations"]["3d_fullres"] for each in (plans, other))
        assert other["plans_name"] == f"nnUNetPlans{ending}"
        assert after["normalization_schemes"] == ["CTNormalization", scheme]
        assert after["data_identifier"] == before["data_identifier"] + ending
        changed = ("normalization_schemes", "data_identifier")
        assert {key: after[key] for key in after if key not in changed} == {
            key: before[key] for key in before if key not in changed
        }


def test_plans_of_other_channels_are_refused(monkeypatch, plans_file):
    plans = json.loads(plans_file.read_text())
    plans["configurations"]["3d_fullres"]["normalization_schemes"] = ["CTNormalization", "ZScoreNormalization"]
    plans_file.write_text(json.dumps(plans))

    with pytest.raises(SystemExit, match="two channels named CT"):
        run(monkeypatch, plans_file)
