import json
import shutil

import numpy as np
import pytest

from h2aseg_nnunet import cli
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.postprocess.rules import NO_RULE
from h2aseg_nnunet.petct.tune.run import Settings, tune
from h2aseg_nnunet.petct.tune.text import to_text
from tests.synthetic import read_array, write_image
from tests.unit.petct.tune.crossvalidated import DATASET, SHAPE, SPACING_MM, paint, write_model, write_prediction

CASES = [*(paint(false=2) for _ in range(9)), *(paint(false=1, ill=False) for _ in range(3))]
"""Twelve patients, three without a lesion; every false lesion is a single voxel of 0.125 ml."""


@pytest.fixture
def model(nnunet):
    return write_model(nnunet, CASES)


def test_the_rule_that_is_right_is_found(model):
    """Lesions of 0.2 ml on remove every false one: in the patients with a lesion 0.25 ml, in the others 0.125 ml.

    Their gain is 0.25 (1 - 10 / 10.25) with Dice 54 / 56 -> 1, that is 0.5 x 0.0357 + 0.0061 = 0.02396; the others'
    is 1 - 10 / 10.125 = 0.01235. The mean over twelve: 0.02106.
    """
    tuned = tune(model)

    (volume,) = (each for each in tuned.selection.families if each.name == "volume")
    assert volume.rule.describe() == "lesions of volume >= 0.2 ml"
    assert volume.gain.mean == pytest.approx(0.02106, abs=1e-5)
    assert (volume.gain.larger, volume.gain.smaller) == (12, 0)
    assert (volume.lost_lesions, volume.found_lesions, volume.emptied) == (0, 9, 3)
    assert volume.changes["false_positive_volume_ml"].mean == pytest.approx(-(9 * 0.25 + 3 * 0.125) / 12)
    assert tuned.selection.rule == volume.rule  # gentler than others of equal gain, in the first family that has it
    assert tuned.num_cases == tuned.num_patients == 12


@pytest.mark.parametrize(("lost", "said"), [(0.9, False), (3.0, True)])
def test_a_rule_that_loses_lesions_says_so_beside_its_name(model, lost, said):
    tuned = tune(model, Settings(families=("volume",)))
    chosen = tuned.selection.chosen._replace(lost_lesions=lost)

    text = to_text(tuned._replace(selection=tuned.selection._replace(chosen=chosen)))

    assert ("It loses 3.0 of 9 lesions that the model had found." in text) is said


@pytest.mark.parametrize("metric", ["lesion-f1", "auc-dice"])
def test_patients_without_lesions_count_in_the_other_metrics(model, metric):
    tuned = tune(model, Settings(metric, families=("volume",)))

    gain = {"lesion-f1": (9 * 0.5 + 3) / 12, "auc-dice": (9 * (1 - 54 / 56) + 3) / 12}[metric]
    assert tuned.selection.chosen.gain.mean == pytest.approx(gain)


def test_a_model_without_anything_to_gain_gets_no_rule(nnunet):
    tuned = tune(write_model(nnunet, [paint() for _ in range(12)]))

    assert tuned.selection.rule == NO_RULE
    assert tuned.selection.family is None
    assert tuned.selection.chosen.gain.mean == 0


def test_a_rule_whose_interval_includes_0_is_chosen_only_if_asked(nnunet):
    """Two of twelve patients gain: in some resamples neither is drawn."""
    model = write_model(nnunet, [*(paint(false=2) for _ in range(2)), *(paint() for _ in range(10))])

    assert tune(model).selection.rule == NO_RULE
    asked = tune(model, Settings(even_if_uncertain=True)).selection
    assert asked.rule.describe() == "lesions of volume >= 0.2 ml"
    assert not asked.chosen.is_certain


def test_cases_of_a_patient_are_one(model, tmp_path):
    table = tmp_path / "patients.csv"
    table.write_text("case,patient\n" + "".join(f"case_{n:02d},{max(n, 1)}\n" for n in range(12)))

    tuned = tune(model, Settings(patients=table, families=("volume",)))

    seen = "Patients with cases in several folds, whom the models had seen in training: 1."
    assert (tuned.num_cases, tuned.num_patients, tuned.remarks) == (12, 11, [seen])


def test_convert_has_noted_the_patients(model, nnunet):
    record = {"cases": {f"case_{n:02d}": {"patient": str(n // 2)} for n in range(12)}}
    (nnunet / "nnUNet_raw" / DATASET / "conversion.json").write_text(json.dumps(record))

    with pytest.raises(UserError, match="6 patients in fold 0, 1: at least 10"):
        tune(model)


def test_voxels_that_nobody_judged_count_for_nothing(nnunet):
    """The false lesions lie where nobody judged: there is nothing to gain."""
    case = paint(false=2)
    case.reference[6] = 2
    model = write_model(nnunet, [case] * 12)
    for description in (model / "dataset.json", nnunet / "nnUNet_raw" / DATASET / "dataset.json"):
        content = json.loads(description.read_text())
        content["labels"]["ignore"] = 2
        description.write_text(json.dumps(content))

    assert tune(model).selection.family is None


def test_folds_without_probabilities_are_named(model):
    (model / "fold_1" / "validation" / "case_03.npz").unlink()

    with pytest.raises(UserError, match=r"no probabilities .* of case_03.*--val --npz"):
        tune(model)


def test_fold_all_tells_nothing(model):
    shutil.copytree(model / "fold_0", model / "fold_all")

    with pytest.raises(UserError, match="-f all"):
        tune(model, Settings(folds=("all",)))


def test_probabilities_of_another_mask_are_refused(model):
    folder = model / "fold_0" / "validation"
    write_prediction(folder.parent, "case_00", paint(ill=False))
    shutil.move(folder.parent / "case_00.npz", folder / "case_00.npz")

    with pytest.raises(UserError, match=r"case_00.npz is not of .*case_00.nii.gz"):
        tune(model)


def test_an_unknown_family_or_seed_is_refused(model):
    with pytest.raises(UserError, match="--families size: expected are some of volume, SUVmax"):
        tune(model, Settings(families=("size",)))
    with pytest.raises(UserError, match="--seed -1: 0 or more"):
        tune(model, Settings(seed=-1))


def test_the_command_writes_rules_a_figure_and_a_table_and_postprocess_applies_them(model, tmp_path, capsys):
    rules, predictions, output = tmp_path / "rules.json", tmp_path / "predictions", tmp_path / "out"
    predictions.mkdir()
    write_prediction(predictions, "new", paint(false=3))
    for name in ("dataset.json", "plans.json"):
        shutil.copy(model / name, predictions / name)

    assert cli.main(["tune", "-m", str(model), "-o", str(rules), "-np", "1"]) == 0
    said = capsys.readouterr().out
    assert "Rule: lesions of volume >= 0.2 ml" in said and "12 cases of 12 patients" in said
    assert (tmp_path / "rules.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads(rules.read_text())
    assert content["in_words"] == "lesions of volume >= 0.2 ml"
    assert content["model"]["name"] == f"{DATASET}/nnUNetTrainer__P__3d_fullres"
    assert (content["metric"], content["patients"], content["interval_includes_0"]) == ("autopet", 12, False)

    assert cli.main(["postprocess", "-i", str(predictions), "-o", str(output), "--rules", str(rules), "-np", "1"]) == 0
    assert "1 of 1 masks changed" in capsys.readouterr().out
    assert np.array_equal(read_array(output / "new.nii.gz"), paint().reference)
    assert cli.main(["tune", "-m", str(model), "-o", str(rules), "-np", "1"]) == 0  # an earlier fit may be replaced


def test_a_figure_that_is_somebody_elses_is_left(model, tmp_path, capsys):
    (tmp_path / "rules.png").write_bytes(b"a photograph")

    assert cli.main(["tune", "-m", str(model), "-o", str(tmp_path / "rules.json")]) == 1
    assert "rules.png exists and is not the figure of an earlier fit" in capsys.readouterr().err


def test_the_pet_is_the_channel_that_dataset_json_says(model, nnunet):
    """PET before CT: false lesions at SUV 0.9 go, which HU of 0 would not tell from others."""
    raw = nnunet / "nnUNet_raw" / DATASET
    for description in (model / "dataset.json", raw / "dataset.json"):
        content = json.loads(description.read_text()) | {"channel_names": {"0": "PET", "1": "CT"}}
        description.write_text(json.dumps(content))
    for number, case in enumerate(CASES):
        suv = np.where(case.reference, 8.0, np.minimum(case.suv, 0.9))
        write_image(raw / "imagesTr" / f"case_{number:02d}_0000.nii.gz", suv.astype(np.float32), SPACING_MM)
        write_image(raw / "imagesTr" / f"case_{number:02d}_0001.nii.gz", np.zeros(SHAPE, np.float32), SPACING_MM)

    assert tune(model, Settings(families=("SUVmax",))).selection.rule.describe() == "lesions of SUVmax >= 1"


def test_a_validation_that_was_cut_short_is_told(model):
    assert not any("cut short" in remark for remark in tune(model, Settings(families=("volume",))).remarks)
    (model / "fold_1" / "validation" / "summary.json").unlink()

    (told,) = [remark for remark in tune(model, Settings(families=("volume",))).remarks if "cut short" in remark]
    assert "fold 1" in told and "6 cases" in told


def test_patients_whom_a_model_has_seen_in_training_are_told(model, tmp_path):
    """Cases 0 and 1 are of one patient and were validated in folds 0 and 1: each model has seen the other one."""
    table = tmp_path / "patients.csv"
    table.write_text("case,patient\n" + "".join(f"case_{n:02d},{max(n, 1)}\n" for n in range(12)))

    (told,) = tune(model, Settings(patients=table, families=("volume",))).remarks

    assert told == "Patients with cases in several folds, whom the models had seen in training: 1."


def test_a_case_of_two_patients_is_refused(model, tmp_path):
    table = tmp_path / "patients.csv"
    rows = [*(f"case_{n:02d},{n}" for n in range(12)), "case_03,3", "case_04,5"]
    table.write_text("case,patient\n" + "\n".join(rows))

    with pytest.raises(UserError, match=r"patients.csv, line 15: case_04 is of patient 5, above of 4"):
        tune(model, Settings(patients=table))


def test_rules_are_not_replaced_by_their_own_figure(model, tmp_path, capsys):
    assert cli.main(["tune", "-m", str(model), "-o", str(tmp_path / "rules.png")]) == 1
    assert "rules.png" in capsys.readouterr().err and not (tmp_path / "rules.png").exists()
