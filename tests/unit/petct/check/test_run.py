"""Every fault in files on disk, through the command as a user meets it; and silence where nothing is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from h2aseg_nnunet import cli
from h2aseg_nnunet.demo import phantom


def reorient(file, axes):
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(file)), axes), str(file))


@pytest.fixture
def check(dataset, capsys):
    """Run `h2aseg check` on the dataset; return the exit code and (severity, check, file) of every finding."""

    def run(*options):
        code = cli.main(["check", *(options or ("-d", "701")), "--json", "-np", "1"])
        content = json.loads(capsys.readouterr().out)
        findings = content["findings"] + content["notes"]
        return code, [(finding["severity"], finding["check"], Path(finding["file"]).name) for finding in findings]

    return run


def test_a_good_dataset_gives_no_finding_and_exit_code_0(check):
    assert check() == (0, [])


def test_lines_and_summary_are_printed(dataset, capsys):
    dataset.change(dataset.image(0, 1), lambda pet: pet * 5000)

    assert cli.main(["check", "-d", "Dataset701_Test", "-np", "1"]) == 1

    line, summary = capsys.readouterr().out.splitlines()
    assert line.startswith("error: imagesTr/case_00_0001.nii.gz: median in soft tissue ")
    assert "expected SUV" in line and "Convert to SUV" in line
    assert summary == f"{dataset.root}: 2 cases, 1 error, 0 warnings"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_in_a_case_is_an_error_that_names_it(dataset, capsys, value):
    def with_nan(pet):
        pet[3, 4, 5] = value
        return pet

    dataset.change(dataset.image(1, 1), with_nan)

    assert cli.main(["check", "-d", "701", "-np", "1"]) == 1

    line, _ = capsys.readouterr().out.splitlines()
    assert line.startswith("error: imagesTr/case_01_0001.nii.gz: has 1 value that is not finite")


@pytest.mark.parametrize("fault", ["truncate", "damage", "promise_more_slices"])
@pytest.mark.parametrize("kind", ["ct", "pet", "label"])
def test_a_corrupted_file_is_unreadable_and_the_other_files_are_still_checked(dataset, check, fault, kind):
    files = {"ct": dataset.image(0, 0), "pet": dataset.image(0, 1), "label": dataset.label(0)}
    getattr(dataset, fault)(files[kind])
    dataset.change(dataset.image(1, 1), lambda pet: pet * 5000)

    code, findings = check()

    assert code == 1
    assert ("error", "unreadable", files[kind].name) in findings
    assert ("error", "pet-unit", "case_01_0001.nii.gz") in findings
    assert {name for _, name, _ in findings} <= {"unreadable", "grid", "pet-unit"}


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii", ".gipl"])
def test_corrupted_files_of_other_formats_are_unreadable(dataset, check, ending):
    dataset.write_json(file_ending=ending)
    for file in [*dataset.root.glob("*/*.nii.gz")]:
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(file)), str(file).replace(".nii.gz", ending))
        file.unlink()
    assert check() == (0, [])

    dataset.truncate(dataset.root / "imagesTr" / f"case_00_0001{ending}")

    assert check() == (1, [("error", "unreadable", f"case_00_0001{ending}")])


def test_a_file_of_zero_bytes_is_unreadable(dataset, check):
    dataset.image(0, 0).write_bytes(b"")

    assert check() == (1, [("error", "unreadable", "case_00_0000.nii.gz")])


def test_swapped_files_are_one_finding(dataset, check):
    ct, pet = dataset.image(0, 0), dataset.image(0, 1)
    ct_content, pet_content = ct.read_bytes(), pet.read_bytes()
    ct.write_bytes(pet_content)
    pet.write_bytes(ct_content)

    assert check() == (1, [("error", "channel-order", "case_00_0001.nii.gz")])


def test_a_pet_on_another_grid_is_found_and_its_values_are_checked_all_the_same(dataset, check):
    dataset.change(dataset.image(0, 1), lambda pet: 5000 * pet[:20])

    code, findings = check()

    assert code == 1
    assert findings == [
        ("error", "grid", "case_00_0001.nii.gz"),
        ("error", "pet-unit", "case_00_0001.nii.gz"),
    ]


def test_a_label_on_another_grid_does_not_keep_ct_and_pet_from_being_compared(dataset, check):
    dataset.change(dataset.label(0), lambda label: label[:20])
    dataset.change(dataset.image(0, 1), lambda pet: np.roll(pet, 8, axis=2))

    assert set(check()[1]) == {("error", "grid", "case_00.nii.gz"), ("warning", "registration", "case_00_0001.nii.gz")}


def test_a_ct_of_another_unit_hides_nothing_of_the_pet(dataset, check):
    dataset.change(dataset.image(0, 0), lambda ct: ct.astype(np.int32) + 1024)
    dataset.change(dataset.image(0, 1), lambda pet: pet * 5000)

    assert check()[1] == [("error", "ct-unit", "case_00_0000.nii.gz"), ("error", "pet-unit", "case_00_0001.nii.gz")]


def test_a_constant_channel_is_found(dataset, check):
    for case in (0, 1):
        dataset.change(dataset.image(case, 1), np.zeros_like)

    assert check() == (1, [("error", "constant", f"case_0{case}_0001.nii.gz") for case in (0, 1)])


def test_an_undeclared_label_is_found(dataset, check):
    dataset.change(dataset.label(0), lambda label: label * 2)

    assert ("error", "label-values", "case_00.nii.gz") in check()[1]


def test_a_patient_without_lesions_is_a_note(dataset, check):
    dataset.change(dataset.label(0), np.zeros_like)

    assert check() == (0, [("note", "label-empty", "case_00.nii.gz")])


def test_a_declared_label_that_never_occurs_is_a_warning(dataset, check):
    dataset.write_json(labels={"background": 0, "tumor": 1, "node": 2})

    assert check() == (0, [("warning", "label-unused", "dataset.json")])


def test_a_misregistered_pet_is_a_warning(dataset, check):
    dataset.change(dataset.image(0, 1), lambda pet: np.roll(pet, 8, axis=2))

    code, findings = check()

    assert code == 0
    assert set(findings) == {("warning", "registration", "case_00_0001.nii.gz")}


def test_a_ct_smaller_than_the_pet_is_a_warning(dataset, check):
    def without_upper_slices(ct):
        ct[16:] = -1024
        return ct

    dataset.change(dataset.image(0, 0), without_upper_slices)

    code, findings = check()

    assert code == 0
    assert ("warning", "field-of-view", "case_00_0000.nii.gz") in findings


def test_one_image_under_two_names_is_a_warning_whatever_its_type(dataset, check):
    dataset.write_case(1, seed=0)
    dataset.change(dataset.image(1, 0), lambda ct: ct.astype(np.float32))

    assert check() == (0, [("warning", "duplicate", f"case_01_000{channel}.nii.gz") for channel in (0, 1)])


def test_a_test_case_that_is_a_training_case_is_found(dataset, check):
    dataset.write_case(5, split="Ts", seed=1)

    assert check() == (0, [("warning", "duplicate", f"case_05_000{channel}.nii.gz") for channel in (0, 1)])


def test_a_wrong_number_of_cases_is_found(dataset, check):
    dataset.write_json(numTraining=3)

    assert check() == (1, [("error", "dataset-json", "dataset.json")])


@pytest.mark.parametrize("also", ["stray", "surplus", "missing"])
def test_a_wrong_number_of_cases_is_found_beside_other_findings(dataset, check, also):
    dataset.write_json(numTraining=3)
    if also == "stray":
        (dataset.root / "imagesTr" / "old.nii").write_bytes(b"")
    elif also == "surplus":
        (dataset.root / "labelsTr" / "case_09.nii.gz").write_bytes(b"")
    else:
        dataset.image(0, 1).unlink()

    code, findings = check()

    assert code == 1 and ("error", "dataset-json", "dataset.json") in findings


def test_cases_of_dangling_links_are_errors_in_training_and_inputs(dataset, check):
    """Of git-annex without content, or of `convert --link` after the source moved: nnU-Net leaves the case out."""
    for channel in (0, 1):
        dataset.image(1, channel).unlink()
        dataset.image(1, channel).symlink_to(dataset.root / "moved_away.nii.gz")
    expected = [("error", "missing-file", f"case_01_000{channel}.nii.gz") for channel in (0, 1)]

    assert check() == (1, expected)
    assert check("-i", str(dataset.root / "imagesTr")) == (1, expected)


def test_a_dangling_folder_of_test_images_is_an_error(dataset, check):
    (dataset.root / "imagesTs").symlink_to(dataset.root / "moved_away")

    assert check() == (1, [("error", "missing-file", "imagesTs")])


def test_a_case_stored_with_other_axes_than_the_training_set_is_a_warning(dataset, check):
    """The same patient in coronal slices: nnU-Net would see another image."""
    for case in (2, 3):
        dataset.write_case(case)
    dataset.write_json(numTraining=4)
    dataset.write_case(7, split="Ts")
    for file in (*(dataset.image(1, channel) for channel in (0, 1)), dataset.label(1)):
        reorient(file, "LSP")
    for channel in (0, 1):
        reorient(dataset.image(7, channel, "Ts"), "RAS")
    expected = [("warning", "axes", "case_01_0000.nii.gz"), ("warning", "axes", "case_07_0000.nii.gz")]

    assert check() == (0, expected)


def test_axes_do_not_matter_where_nnunet_turns_images_itself(dataset, check):
    for file in (*(dataset.image(1, channel) for channel in (0, 1)), dataset.label(1)):
        reorient(file, "LSP")
    assert [finding[1] for finding in check()[1]] == ["axes"]

    dataset.write_json(overwrite_image_reader_writer="SimpleITKIOWithReorient")

    assert check() == (0, [])


def test_inputs_are_compared_with_the_axes_of_the_models_training_set(dataset, check, tmp_path):
    model = tmp_path / "model"
    (model / "fold_0" / "validation").mkdir(parents=True)
    (dataset.root / "dataset.json").rename(model / "dataset.json")
    dataset.label(0).rename(model / "fold_0" / "validation" / "case_00.nii.gz")
    reorient(model / "fold_0" / "validation" / "case_00.nii.gz", "LSP")
    inputs = ("-i", str(dataset.root / "imagesTr"))

    assert check(*inputs) == (0, [])  # alike among themselves
    expected = [("warning", "axes", f"case_0{case}_0000.nii.gz") for case in (0, 1)]
    assert check(*inputs, "--dataset-json", str(model / "dataset.json")) == (0, expected)


def test_missing_files_do_not_make_the_number_of_cases_wrong_as_well(dataset, check):
    dataset.image(0, 1).unlink()

    assert check() == (1, [("error", "missing-file", "case_00_0001.nii.gz")])


def test_a_missing_folder_is_found(dataset, check):
    for file in (dataset.root / "imagesTr").iterdir():
        file.unlink()
    (dataset.root / "imagesTr").rmdir()

    assert check() == (1, [("error", "missing-file", "imagesTr")])


def test_files_listed_in_dataset_json_are_checked(dataset, check):
    def entry(case):
        images = [str(dataset.image(case, channel).relative_to(dataset.root)) for channel in (0, 1)]
        return {"images": images, "label": str(dataset.label(case).relative_to(dataset.root))}

    dataset.write_json(dataset={"first": entry(0), "second": entry(1)})
    assert check() == (0, [])

    dataset.image(1, 0).unlink()
    assert check() == (1, [("error", "missing-file", "case_01_0000.nii.gz")])


def test_inputs_for_prediction_are_checked_without_labels(dataset, check):
    dataset.image(1, 1).unlink()
    inputs = ("-i", str(dataset.root / "imagesTr"))

    assert check(*inputs) == (1, [("error", "missing-file", "case_01_0001.nii.gz")])


def test_inputs_may_come_with_the_models_dataset_json(dataset, check, tmp_path):
    (tmp_path / "model").mkdir()
    (dataset.root / "dataset.json").rename(tmp_path / "model" / "dataset.json")
    inputs = ("-i", str(dataset.root / "imagesTr"))
    assert check(*inputs) == (0, [])  # CT and PET as .nii.gz

    description = tmp_path / "model" / "dataset.json"
    assert check(*inputs, "--dataset_json", str(description)) == (0, [])
    description.write_text(json.dumps(json.loads(description.read_text()) | {"file_ending": ".mha"}))
    code, findings = check(*inputs, "--dataset_json", str(description))
    assert code == 1 and ("error", "missing-file", "imagesTr") in findings


def test_parallel_processes_find_the_same(dataset, capsys):
    dataset.truncate(dataset.image(1, 0))
    outputs = []
    for processes in ("1", "2"):
        assert cli.main(["check", "-d", "701", "-np", processes]) == 1
        outputs.append(capsys.readouterr().out)

    assert outputs[0] == outputs[1] and "case_01_0000" in outputs[0]


def test_json_into_a_file_leaves_the_lines_on_the_screen(dataset, capsys, tmp_path):
    assert cli.main(["check", "-d", "701", "-np", "1", "--json", str(tmp_path / "check.json")]) == 0

    assert capsys.readouterr().out == f"{dataset.root}: 2 cases, 0 errors, 0 warnings\n"
    assert json.loads((tmp_path / "check.json").read_text())["cases"] == 2


def test_an_earlier_check_is_replaced_and_nothing_else(dataset, capsys, tmp_path):
    ours, image, description = tmp_path / "check.json", dataset.image(0, 0), dataset.root / "dataset.json"
    assert cli.main(["check", "-d", "701", "-np", "1", "--json", str(ours)]) == 0
    dataset.write_json(numTraining=3)
    assert cli.main(["check", "-d", "701", "-np", "1", "--json", str(ours)]) == 1
    assert json.loads(ours.read_text())["errors"] == 1
    capsys.readouterr()

    for file in (image, description):
        before = file.read_bytes()
        assert cli.main(["check", "-d", "701", "-np", "1", "--json", str(file)]) == 1
        assert file.read_bytes() == before
        error = capsys.readouterr().err
        assert f"{file} exists and is not the findings of an earlier check" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["-d", "702"], "should hold one dataset Dataset702_*, but there is none"),
        (["-d", "Dataset70"], "should hold one dataset Dataset70"),
        (["-i", "nowhere"], "is no folder"),
        (["-i", ".", "--dataset_json", "nowhere.json"], "nowhere.json is missing"),
        (["-d", "701", "--dataset_json", "nowhere.json"], "goes with -i"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(dataset, capsys, options, part):
    assert cli.main(["check", *options]) == 1

    error = capsys.readouterr().err
    assert error.startswith("h2aseg check: ") and part in error and error.count("\n") == 1


def test_without_nnunet_raw_the_variable_is_named(dataset, capsys, monkeypatch):
    monkeypatch.delenv("nnUNet_raw")

    assert cli.main(["check", "-d", "701"]) == 1
    assert "nnUNet_raw is not set" in capsys.readouterr().err


def test_phantoms_give_no_false_alarm(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    phantom.write_dataset(tmp_path / "Dataset702_Phantoms", num_training=3, num_test=1, seed=0)

    assert cli.main(["check", "-d", "702", "-np", "1"]) == 0

    assert capsys.readouterr().out.endswith("4 cases, 0 errors, 0 warnings\n")
