"""How nnU-Net finds our trainers through `nnUNet_extTrainer`; in real environments: tests/release/test_install.py."""

import os
import pickle
import pkgutil
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

import h2aseg_nnunet
import h2aseg_nnunet.trainer
from h2aseg_nnunet._register import VARIABLE, register, trainer_path

# nnU-Net's search imports all of its trainers and their dependencies, whose warnings are not ours
pytestmark = pytest.mark.filterwarnings("default")

PACKAGE = Path(h2aseg_nnunet.__file__).parent
OTHER_TRAINER = """
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

class nnUNetTrainerOfSomebodyElse(nnUNetTrainer):
    pass
"""


@pytest.fixture
def registered(monkeypatch):
    """Exactly what a fresh process of an environment with the plugin has."""
    monkeypatch.setenv(VARIABLE, "")
    register()


@pytest.mark.parametrize("value", [None, "", os.pathsep, f" {os.pathsep}"])
def test_without_a_user_value_only_our_path_is_set(monkeypatch, value):
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)

    register()

    assert os.environ[VARIABLE] == trainer_path()


@pytest.mark.parametrize("trailing", ["", os.pathsep])
def test_user_paths_are_kept_and_ours_comes_last(monkeypatch, trailing):
    monkeypatch.setenv(VARIABLE, os.pathsep.join(["/mine", "/ours"]) + trailing)

    register()

    assert os.environ[VARIABLE].split(os.pathsep) == ["/mine", "/ours", trainer_path()]


@pytest.mark.parametrize("present", [trainer_path(), trainer_path() + os.sep])
def test_a_path_that_is_present_is_not_added_again(monkeypatch, present):
    value = os.pathsep.join([present, "/mine"])
    monkeypatch.setenv(VARIABLE, value)

    register()

    assert os.environ[VARIABLE] == value


def test_registering_twice_equals_registering_once(registered):
    once = os.environ[VARIABLE]

    register()

    assert os.environ[VARIABLE] == once


@pytest.mark.parametrize("name", h2aseg_nnunet.trainer.__all__)
def test_the_class_nnunet_finds_is_the_class_imported(registered, name):
    assert recursive_find_trainer_class_by_name(name) is getattr(h2aseg_nnunet.trainer, name)


def test_the_found_class_can_be_pickled(registered):
    found = recursive_find_trainer_class_by_name("nnUNetTrainerH2ASeg")

    assert pickle.loads(pickle.dumps(found)) is found


def test_forked_processes_find_the_same_class(registered):
    with get_context("fork").Pool(1) as pool:
        search = pool.apply_async(recursive_find_trainer_class_by_name, ["nnUNetTrainerH2ASeg"])

        assert search.get(timeout=120) is h2aseg_nnunet.nnUNetTrainerH2ASeg


def test_other_trainers_are_found_where_the_variable_is_inherited_without_the_plugin(monkeypatch, tmp_path):
    (tmp_path / "trainer_of_somebody_else.py").write_text(OTHER_TRAINER)
    monkeypatch.setenv(VARIABLE, os.pathsep.join([trainer_path(), str(tmp_path)]))
    monkeypatch.setitem(sys.modules, "h2aseg_nnunet", None)  # not installed

    found = recursive_find_trainer_class_by_name("nnUNetTrainerOfSomebodyElse")

    assert found.__name__ == "nnUNetTrainerOfSomebodyElse"


def test_a_missing_dependency_of_the_plugin_is_not_hidden(registered, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("h2aseg_nnunet")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "einops", None)

    with pytest.raises(ModuleNotFoundError, match="einops"):
        recursive_find_trainer_class_by_name("nnUNetTrainerH2ASeg")


def test_start_up_imports_nothing_but_the_package_itself():
    code = "import os, sys; old = {*sys.modules}; import h2aseg_nnunet._register; print(*sorted({*sys.modules} - old))"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}

    # -S: no start-up file may have imported it before
    loaded = subprocess.check_output([sys.executable, "-S", "-c", code], env=environment, text=True)

    assert loaded.split() == ["h2aseg_nnunet", "h2aseg_nnunet._register"]


@pytest.mark.parametrize("name", h2aseg_nnunet.__all__)
def test_every_public_name_can_be_imported_and_is_listed(name):
    assert getattr(h2aseg_nnunet, name).__name__ == name
    assert name in dir(h2aseg_nnunet)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nnUNetTrainerTypo"):
        h2aseg_nnunet.nnUNetTrainerTypo  # noqa: B018


def test_the_start_file_names_register_as_pep_829_resolves_it():
    (line,) = (PACKAGE / "_startup" / "h2aseg_nnunet.start").read_text().splitlines()

    assert pkgutil.resolve_name(line) is register


def test_the_pth_file_is_one_line_that_registers(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    (line,) = (PACKAGE / "_startup" / "h2aseg_nnunet.pth").read_text().splitlines()

    exec(line)

    assert line.startswith("import ")  # Python takes any other line for a path
    assert os.environ[VARIABLE] == trainer_path()
