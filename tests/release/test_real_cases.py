"""Commands on real patients: soft-tissue sarcoma (TCIA), and a case of AutoPET III with two published predictions."""

import json
import shutil

import pytest

from h2aseg_nnunet import cli
from h2aseg_nnunet.petct.evaluate.run import MetricSettings, evaluate_folders
from tests.locations import DATA, TEST_DATA

STS = TEST_DATA / "sts"
AUTOPET_REAL = TEST_DATA / "metrics" / "autopet_real"


@pytest.mark.skipif(not STS.is_dir(), reason=f"real PET/CT is not at {STS}")
def test_of_40_real_patients_only_the_misregistered_one_is_suspected(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    (tmp_path / "Dataset701_STS").symlink_to(STS)

    assert cli.main(["check", "-d", "701", "-np", "2"]) == 0

    line, summary = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: imagesTr/STS_019_0001.nii.gz: suspected misregistration")
    assert summary.endswith("40 cases, 0 errors, 1 warning")


@pytest.mark.skipif(not AUTOPET_REAL.is_dir(), reason=f"the real AutoPET case is not at {AUTOPET_REAL}")
def test_autopet_reference_values_of_a_real_case(tmp_path):
    baselines = ("nnunet_baseline", "datacentric_baseline")
    for folder in ("references", "predictions"):
        (tmp_path / folder).mkdir()
    for baseline in baselines:
        shutil.copy(AUTOPET_REAL / "ground_truth.nii.gz", tmp_path / "references" / f"{baseline}.nii.gz")
        shutil.copy(AUTOPET_REAL / f"{baseline}.nii.gz", tmp_path / "predictions")

    evaluation = evaluate_folders(tmp_path / "references", tmp_path / "predictions", MetricSettings("autopet"))

    expected = json.loads((DATA / "metrics" / "expected.json").read_text())["autopet_real"]
    for baseline in baselines:
        assert evaluation.cases[baseline] == pytest.approx(expected[baseline], rel=1e-6)
