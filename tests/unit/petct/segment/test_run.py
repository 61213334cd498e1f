"""`h2aseg segment` where runs are given up, killed and repeated."""

import json
import os
import time

import pytest

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.petct.files import PARTIAL
from h2aseg_nnunet.petct.postprocess.rules import Rule
from h2aseg_nnunet.petct.postprocess.rules_file import MADE_BY, identify
from h2aseg_nnunet.petct.segment import finish, run
from tests.models import one_thread, registered  # noqa: F401
from tests.synthetic import read_array
from tests.unit.petct.robustness.conftest import make_model, write_case  # noqa: F401

pytestmark = pytest.mark.filterwarnings("default")  # nnU-Net and what it stands on warn of their own matters


@pytest.fixture
def model(make_model):  # noqa: F811
    return make_model((0, 1))


@pytest.fixture
def command(model, tmp_path):
    write_case(tmp_path, "a")
    folders = ["-i", tmp_path / "imagesTs", "-m", model, "-o", tmp_path / "out"]
    return ["segment", *map(str, folders), "-device", "cpu", "--force", "-np", "1", "--output-type", "nifti"]


@pytest.fixture
def nothing(model, tmp_path):
    """Options of a rule that leaves nothing of a patient."""
    content = {"made_by": MADE_BY, "metric": "autopet", "rule": Rule(least_total_ml=1e4).as_json()}
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps(content | {"model": identify(model, ["0"], "checkpoint_final.pth")}))
    return ["--rules", str(rules)]


def test_what_a_worker_may_still_be_writing_is_left_for_an_hour(tmp_path):
    """Else a worker that was given up would take the rest of its files for a whole case."""
    worker = "0123456789abcdef"
    parts = [tmp_path / "cases" / f".a.{worker}.partial", tmp_path / "cases" / ".b.partial"]
    files = [tmp_path / "masks" / f"{PARTIAL}{worker}-a.nii.gz", tmp_path / "masks" / f"{PARTIAL}b.nii.gz"]
    for part in parts:
        part.mkdir(parents=True)
    files[0].parent.mkdir()
    for file in files:
        file.touch()

    run._remove_partial(tmp_path)
    assert [path.exists() for path in (*parts, *files)] == [True, False, True, False]

    long_ago = time.time() - 2 * 3600
    for path in (parts[0], files[0]):
        os.utime(path, (long_ago, long_ago))
    run._remove_partial(tmp_path)
    assert not parts[0].exists() and not files[0].exists()


def test_a_run_killed_between_mask_and_record_does_not_look_finished(command, nothing, tmp_path, monkeypatch):
    """The earlier record would else be taken for that of the new mask."""

    def killed(*arguments):
        raise KeyboardInterrupt

    assert main(command) == 0
    with monkeypatch.context() as patch:
        patch.setattr(finish, "measure_lesions", killed)
        assert main([*command, *nothing]) != 0
    assert not read_array(tmp_path / "out" / "masks" / "a.nii.gz").any()

    assert main(command) == 0

    assert read_array(tmp_path / "out" / "masks" / "a.nii.gz").any()


def test_rules_of_another_checkpoint_are_refused(command, nothing, model, capsys):
    final = model / "fold_0" / "checkpoint_final.pth"
    final.with_name("checkpoint_best.pth").write_bytes(final.read_bytes())

    assert main([*command, *nothing, "-chk", "checkpoint_best.pth"]) == 1

    assert "rules.json was fitted to checkpoint_final.pth, not checkpoint_best.pth" in capsys.readouterr().err
