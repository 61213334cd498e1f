import json

import numpy as np
import pytest

from h2aseg_nnunet import cli
from h2aseg_nnunet.petct.check.clipping import LesionUptake, check_clipping, lesion_uptake
from tests.unit.petct.check.conftest import RawDataset

PET_AS_CT = {"channel_names": {"0": "CT", "1": "CT"}}


def uptake(*suvs, voxels_each=100):
    pet = np.repeat(np.array(suvs, np.float32), voxels_each)
    return lesion_uptake(pet, np.ones(pet.shape, bool))


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    return tmp_path / "Dataset701_Test"


def write_fingerprint(root, floor):
    file = root.parent / "preprocessed" / root.name / "dataset_fingerprint.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"foreground_intensity_properties_per_channel": {"1": {"percentile_00_5": floor}}}))
    return file


def test_the_share_of_voxels_below_a_suv():
    half = uptake(1.0, 2.0)

    assert (half.share_below(1.0), half.share_below(1.5), half.share_below(2.5)) == (0.0, 0.5, 1.0)
    assert half.voxels == 200


def test_a_case_without_lesions_has_no_uptake():
    assert lesion_uptake(np.ones(3), np.zeros(3, bool)) is None


def test_after_planning_the_fingerprint_has_the_floor(root):
    """Of 100 + 300 voxels 100 lie below SUV 2: a quarter of all, in one of two cases."""
    file = write_fingerprint(root, 2.0)
    uptakes = {"faint": {1: uptake(1.5)}, "hot": {1: uptake(5.0, 6.0, 7.0)}}

    (finding,) = check_clipping(root, PET_AS_CT, [1], uptakes)

    assert finding[:3] == ("warning", "pet-clipped", str(file))
    assert finding.found.startswith("25.0% of the lesion voxels in channel 0001 lie below SUV 2, ")
    assert finding.found.endswith("and 5% or more in 1 of 2 cases with lesions (faint 100%)")
    assert "--pet-channel SUV" in finding.remedy


def test_before_planning_the_floor_is_what_nnunet_would_plan(root):
    """Each of 200 cases counts the same; all voxels of one are 0.5 %, so the floor lies between it and the others."""
    uptakes = {f"hot_{n}": {1: uptake(5.0, voxels_each=1000)} for n in range(199)} | {"faint": {1: uptake(1.0)}}

    (finding,) = check_clipping(root, PET_AS_CT, [1], uptakes)

    assert finding.file == str(root / "dataset.json")
    assert "(faint 100%)" in finding.found


def test_what_lies_below_the_floor_by_definition_is_no_finding(root):
    rng = np.random.default_rng(0)
    uptakes = {str(n): {1: uptake(*rng.gamma(4, 2, 500))} for n in range(20)}

    assert check_clipping(root, PET_AS_CT, [1], uptakes) == []


@pytest.mark.parametrize("name", ["PET", "noNorm"])
def test_channels_that_are_not_clipped_lose_nothing(root, name):
    write_fingerprint(root, 2.0)

    assert check_clipping(root, {"channel_names": {"0": "CT", "1": name}}, [1], {"faint": {1: uptake(1.0)}}) == []


def test_the_command_warns_of_faint_lesions_and_is_silent_otherwise(dataset: RawDataset, root, capsys):
    assert cli.main(["check", "-d", "701", "-np", "1"]) == 0
    assert "pet-clipped" not in capsys.readouterr().out

    write_fingerprint(dataset.root, 100.0)
    assert cli.main(["check", "-d", "701", "-np", "2"]) == 0
    line, summary = capsys.readouterr().out.splitlines()
    assert "100.0% of the lesion voxels in channel 0001 lie below SUV 100" in line
    assert "1 warning" in summary


def test_uptakes_are_small_enough_to_come_from_other_processes():
    assert isinstance(uptake(1.0), LesionUptake)
    assert uptake(1.0).quantiles.nbytes == 4000
