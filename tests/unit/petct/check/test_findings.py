import json
from pathlib import Path

from h2aseg_nnunet.petct.check.findings import KEYS, Finding, Outcome, is_check
from h2aseg_nnunet.petct.files import write_json

ROOT = Path("/data/Dataset701_Test")
ERROR = Finding("error", "grid", f"{ROOT}/imagesTr/a_0001.nii.gz", "size (2, 2, 2)", "(3, 3, 3)", "Resample it.", "a")
WARNING = Finding("warning", "spacing", "/elsewhere/b.nii.gz", "spacing 0.001 mm", "0.2 to 20 mm", "Correct it.", "b")
NOTE = Finding("note", "label-empty", f"{ROOT}/labelsTr/c.nii.gz", "no lesion", "lesions", "Nothing to do.", "c")


def test_a_line_names_file_value_expectation_and_remedy():
    assert ERROR.line(ROOT) == "error: imagesTr/a_0001.nii.gz: size (2, 2, 2); expected (3, 3, 3). Resample it."


def test_a_file_elsewhere_keeps_its_whole_path():
    assert WARNING.line(ROOT).startswith("warning: /elsewhere/b.nii.gz: ")


def test_a_library_message_of_several_lines_becomes_one():
    assert "\n" not in ERROR._replace(found="first\n  second").line(ROOT)


def test_only_errors_make_the_exit_code_1():
    assert Outcome(ROOT, 1, [WARNING, NOTE]).exit_code == 0
    assert Outcome(ROOT, 1, [WARNING, ERROR]).exit_code == 1


def test_notes_are_counted_and_shown_on_request():
    outcome = Outcome(ROOT, 3, [ERROR, WARNING, NOTE])

    assert len(outcome.lines()) == 3
    assert outcome.lines()[-1] == f"{ROOT}: 3 cases, 1 error, 1 warning, 1 note (shown with --notes)"
    assert len(outcome.lines(with_notes=True)) == 4


def test_json_keeps_notes_apart_from_findings(tmp_path):
    file = tmp_path / "new" / "check.json"
    write_json(file, Outcome(ROOT, 3, [ERROR, WARNING, NOTE]).as_json())

    content = json.loads(file.read_text())
    assert content.keys() == KEYS and is_check(file)
    assert [finding["check"] for finding in content["findings"]] == ["grid", "spacing"]
    assert [finding["check"] for finding in content["notes"]] == ["label-empty"]
    assert (content["cases"], content["errors"], content["warnings"]) == (3, 1, 1)
    assert content["findings"][0] == {
        "severity": "error",
        "check": "grid",
        "file": f"{ROOT}/imagesTr/a_0001.nii.gz",
        "found": "size (2, 2, 2)",
        "expected": "(3, 3, 3)",
        "remedy": "Resample it.",
        "case": "a",
    }


def test_another_json_file_is_no_check(tmp_path):
    for text in ('{"folder": ".", "cases": {}}', "[]", "{"):
        (tmp_path / "other.json").write_text(text)
        assert not is_check(tmp_path / "other.json")


def test_the_command_is_a_function_of_python_too(dataset):
    from h2aseg_nnunet.petct.check import Outcome, check_inputs, check_raw_dataset

    assert check_raw_dataset("701", num_processes=1) == Outcome(dataset.root, 2, [])
    assert check_inputs(dataset.root / "imagesTr", num_processes=1).exit_code == 0
