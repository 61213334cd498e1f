import json
import sys
from copy import deepcopy

import pytest

from studies.share_plan import main
from tests.locations import DATA

PLANS = DATA / "nnUNetPlans.json"


@pytest.fixture
def files(tmp_path):
    reference = json.loads(PLANS.read_text())
    other = deepcopy(reference)
    for plans, name in ((reference, "A"), (other, "B")):
        plans["plans_name"] = name
        plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = f"package.{name}"
        plans["configurations"]["3d_fullres"]["data_identifier"] = f"{name}_3d_fullres"
    other["configurations"]["3d_fullres"] |= {"batch_size": 17, "patch_size": [16, 16, 16]}
    for plans in (reference, other):
        (tmp_path / f"{plans['plans_name']}.json").write_text(json.dumps(plans))
    return tmp_path / "A.json", tmp_path / "B.json"


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["share_plan", *map(str, arguments)])
    main()


def test_networks_alone_differ_afterwards(monkeypatch, files):
    reference, other = files

    run(monkeypatch, other, reference, "--batch", 3)

    a, b = (json.loads(file.read_text())["configurations"]["3d_fullres"] for file in files)
    assert (a.pop("architecture")["network_class_name"], b.pop("architecture")["network_class_name"]) == (
        "package.A",
        "package.B",
    )
    assert a == b
    assert (a["batch_size"], a["data_identifier"]) == (3, "A_3d_fullres")
    assert json.loads(other.read_text())["plans_name"] == "B"


def test_other_strides_are_refused_and_nothing_is_written(monkeypatch, files):
    reference, other = files
    plans = json.loads(other.read_text())
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["strides"][1] = [1, 1, 1]
    other.write_text(json.dumps(plans))
    before = [file.read_text() for file in files]

    with pytest.raises(SystemExit, match="different strides"):
        run(monkeypatch, other, reference)

    assert [file.read_text() for file in files] == before
