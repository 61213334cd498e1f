from multiprocessing import get_context

from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

import h2aseg_nnunet


def test_spawned_processes_find_the_same_class(workspace):
    with workspace.environment(), get_context("spawn").Pool(1) as pool:
        search = pool.apply_async(recursive_find_trainer_class_by_name, ["nnUNetTrainerH2ASeg"])

        assert search.get(timeout=120) is h2aseg_nnunet.nnUNetTrainerH2ASeg
