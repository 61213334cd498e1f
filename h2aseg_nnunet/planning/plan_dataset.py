"""Plan a dataset for a trainer and a card: the job of `h2aseg plan`."""

from collections.abc import Sequence
from pathlib import Path

from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from h2aseg_nnunet import trainer as own_trainers
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.nnunet.folders import find_raw_dataset
from h2aseg_nnunet.planning.planner import H2ASegPlanner
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg


def plan_dataset(
    dataset_id: int,
    gpu_memory_target_gb: float,
    trainer_name: str = nnUNetTrainerH2ASeg.__name__,
    configurations: Sequence[str] = (),
    num_processes: int = 2,
) -> tuple[Path, dict]:
    """Extract the fingerprint unless there is one, plan, and write nnUNetH2ASegPlans_<GB>G.json.

    Args:
        dataset_id: nnU-Net's number of a raw dataset.
        gpu_memory_target_gb: Memory of the card in GiB.
        trainer_name: nnUNetTrainerH2ASeg or a subclass, found as nnU-Net finds it; it names the plans.
        configurations: Names of the configurations to write; all if empty.
        num_processes: Number of processes that extract the fingerprint.

    Returns:
        The plans file, and the plans.

    Raises:
        UserError: If nnU-Net knows no such dataset or trainer, a folder of nnU-Net is not set, or an argument is wrong.
    """
    if gpu_memory_target_gb <= 0:
        raise UserError(f"-gpu_memory_target {gpu_memory_target_gb:g}: expected the card's memory in GB, above 0.")
    trainer = _find_trainer(trainer_name)
    raw = find_raw_dataset(str(dataset_id))
    if not (raw / "dataset.json").is_file():
        raise UserError(f"{raw / 'dataset.json'} does not exist: planning reads the raw dataset. Is nnUNet_raw right?")
    extract_fingerprint_dataset(dataset_id, num_processes=num_processes, clean=False, verbose=False)
    plans_name = f"{trainer_name.replace('Trainer', '')}Plans_{gpu_memory_target_gb:g}G"
    planner = H2ASegPlanner(
        dataset_id,
        gpu_memory_target_gb,
        plans_name=plans_name,
        trainer=trainer,
        configurations=configurations,
    )
    plans = planner.plan_experiment()
    return Path(nnUNet_preprocessed, raw.name, f"{plans_name}.json"), plans


def _find_trainer(name: str) -> type[nnUNetTrainerH2ASeg]:
    """Find the plugin's own at once, others by nnU-Net's search, which imports all of its trainers."""
    try:
        trainer = getattr(own_trainers, name, None) or recursive_find_trainer_class_by_name(name)
    except RuntimeError as error:
        raise UserError(f"-tr {name}: nnU-Net finds no such trainer. Is its folder in nnUNet_extTrainer?") from error
    if not issubclass(trainer, nnUNetTrainerH2ASeg):
        raise UserError(f"-tr {name}: no H2ASeg trainer; nnUNetv2_plan_experiment plans for stock networks.")
    return trainer
