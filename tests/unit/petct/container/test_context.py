"""What `h2aseg container` writes; the model is a stand-in, for nothing is predicted."""

import json
import os
import zipfile
from importlib.metadata import version

import pytest
import SimpleITK

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.petct.challenge import CHALLENGES
from h2aseg_nnunet.petct.challenge.interfaces import INTERFACES
from h2aseg_nnunet.petct.container.requirements import pinned
from h2aseg_nnunet.petct.container.wheel import write_wheel
from tests.plans import DATASET_JSON

SCRIPTS = ("build.sh", "test.sh", "save.sh")


@pytest.fixture
def model(tmp_path):
    """Folds 0, 1 and all, two of which have a checkpoint."""
    folder = tmp_path / "results" / "Dataset901_Test" / "T__P__3d_fullres"
    for fold in ("fold_0", "fold_1", "fold_2"):
        (folder / fold).mkdir(parents=True)
    for fold in ("fold_0", "fold_1"):
        (folder / fold / "checkpoint_final.pth").write_bytes(fold.encode())
    (folder / "fold_0" / "debug.json").write_text('{"hostname": "secret"}')
    (folder / "plans.json").write_text("{}")
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
    return folder


def container(model, output, *options, challenge="autopet3"):
    return main(["container", "-m", str(model), "--challenge", challenge, "-o", str(output), *map(str, options)])


def with_labels(model, count):
    labels = {"background": 0} | {f"label_{n}": n for n in range(1, count + 1)}
    (model / "dataset.json").write_text(json.dumps(DATASET_JSON | {"labels": labels}))


@pytest.mark.parametrize("challenge", CHALLENGES)
def test_everything_that_an_image_needs_is_there(model, tmp_path, challenge):
    interface = INTERFACES[challenge]
    with_labels(model, interface.classes)

    assert container(model, tmp_path / "out", challenge=challenge) == 0

    out = tmp_path / "out"
    assert all(os.access(out / script, os.X_OK) for script in SCRIPTS)
    assert {file.relative_to(out / "model").as_posix() for file in (out / "model").rglob("*") if file.is_file()} == {
        "plans.json", "dataset.json", "fold_0/checkpoint_final.pth", "fold_1/checkpoint_final.pth",
    }  # fmt: skip
    (wheel,) = (out / "package").iterdir()
    docker = (out / "Dockerfile").read_text()
    assert wheel.name in docker and "USER user" in docker
    assert f'"--challenge", "{challenge}"' in docker
    assert ('"--time-limit", "1500"' in docker) == (challenge == "hecktor26")
    test = (out / "test.sh").read_text()
    for flag in ("--network=none", "--cap-drop=ALL", "--read-only", "--shm-size=64m", interface.mask):
        assert flag in test
    readme = (out / "README.md").read_text()
    assert interface.title in readme and all(limit in readme for limit in interface.limits)
    assert all(name in readme and name in test for name in interface.others)


def test_the_folds_asked_for_are_there_and_no_others(model, tmp_path):
    container(model, tmp_path / "out", "-f", 1)

    assert [file.name for file in (tmp_path / "out" / "model").glob("fold_*")] == ["fold_1"]


def test_weights_in_the_image_or_for_themselves(model, tmp_path):
    container(model, tmp_path / "inside")
    container(model, tmp_path / "separate", "--weights", "separate")

    inside, separate = (
        {name: (tmp_path / where / name).read_text() for name in ("Dockerfile", "test.sh", "save.sh", ".dockerignore")}
        for where in ("inside", "separate")
    )
    assert "COPY model /opt/h2aseg/model" in inside["Dockerfile"] and "COPY" not in separate["Dockerfile"]
    assert "/opt/ml/model:ro" in separate["test.sh"] and "/opt/ml/model" not in inside["test.sh"]
    assert "model.tar.gz -C model" in separate["save.sh"] and "model.tar.gz" not in inside["save.sh"]
    assert "model\n" in separate[".dockerignore"] and "model\n" not in inside[".dockerignore"]


def test_what_the_entry_point_is_told(model, tmp_path):
    container(model, tmp_path / "out", "--time-limit", 90, "--disable_tta", "--base", "mine:1")

    docker = (tmp_path / "out" / "Dockerfile").read_text()
    assert "ARG BASE=mine:1" in docker
    assert '"--time-limit", "90", "--disable_tta"]' in docker


def test_the_sample_has_uuids_that_differ_and_grids_as_in_the_challenge(model, tmp_path):
    container(model, tmp_path / "autopet")
    with_labels(model, 2)
    container(model, tmp_path / "hecktor", challenge="hecktor25")

    sizes = {}
    for name in ("autopet", "hecktor"):
        files = sorted((tmp_path / name / "test" / "input" / "images").rglob("*.mha"))
        assert len({file.stem for file in files}) == 2
        sizes[name] = [SimpleITK.ReadImage(str(file)).GetSize() for file in files]
    assert sizes == {"autopet": [(64, 64, 64)] * 2, "hecktor": [(64, 64, 64), (32, 32, 32)]}
    assert (tmp_path / "hecktor" / "test" / "input" / "ehr.json").exists()


def test_a_second_call_replaces_its_own_files_and_nothing_else(model, tmp_path):
    container(model, tmp_path / "out")
    (tmp_path / "out" / "wheels").mkdir()
    (tmp_path / "out" / "wheels" / "torch.whl").touch()

    assert container(model, tmp_path / "out", "-f", 0) == 0

    assert (tmp_path / "out" / "wheels" / "torch.whl").exists()
    assert not (tmp_path / "out" / "model" / "fold_1").exists()


def test_a_folder_of_somebody_else_is_left_alone(model, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "Dockerfile").write_text("mine")

    assert container(model, tmp_path / "out") == 1
    assert "is not a build context of h2aseg container" in capsys.readouterr().err
    assert (tmp_path / "out" / "Dockerfile").read_text() == "mine"


def test_a_model_that_does_not_fit_is_refused_before_anything_is_written(model, tmp_path, capsys):
    assert container(model, tmp_path / "out", challenge="hecktor25") == 1
    assert "has the labels 0, 1; HECKTOR 2025, task 1 wants 0 to 2" in capsys.readouterr().err
    channels = {"0": "CT", "1": "PET", "2": "tumor clicks"}
    (model / "dataset.json").write_text(json.dumps(DATASET_JSON | {"channel_names": channels}))
    assert container(model, tmp_path / "out") == 1
    assert "reads 3 images per case" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_wheel_holds_the_package_its_start_up_files_and_a_record_of_them(tmp_path):
    with zipfile.ZipFile(write_wheel(tmp_path)) as wheel:
        names = wheel.namelist()
        info = f"h2aseg_nnunet-{version('h2aseg_nnunet')}.dist-info"
        record = wheel.read(f"{info}/RECORD").decode().splitlines()
        entry_points = wheel.read(f"{info}/entry_points.txt").decode()
    assert {"h2aseg_nnunet.pth", "h2aseg_nnunet/cli.py", "h2aseg_nnunet/_nnunet_ext/h2aseg_trainers.py"} <= set(names)
    assert "h2aseg_nnunet/petct/container/templates/Dockerfile" in names
    assert not any("__pycache__" in name for name in names)
    assert [line.split(",")[0] for line in record] == names
    assert "h2aseg = h2aseg_nnunet.cli:main" in entry_points


def test_needs_are_pinned_as_they_are_installed_without_what_torch_brings():
    versions = pinned("h2aseg_nnunet")

    assert versions["nnunetv2"] == version("nnunetv2")
    assert versions["torch"] == version("torch").partition("+")[0]
    assert versions["scikit-image"]  # a need of nnU-Net's
    assert not any(name.startswith(("nvidia", "triton")) for name in versions)
    assert "pytest" not in versions and "h2aseg-nnunet" not in versions
