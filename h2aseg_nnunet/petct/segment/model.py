"""The model as the user gives it: a folder or an exported zip, the grid of its training, and its name."""

import zipfile
from pathlib import Path

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.nnunet.dataset_json import read_dataset_json


def model_folder(model: Path, unpacked: Path) -> Path:
    """Return the folder of the model; a zip is unpacked.

    Raises:
        UserError: If it is neither, or the zip does not hold one model.
    """
    if model.is_dir():
        return model.absolute()
    if not zipfile.is_zipfile(model):
        raise UserError(f"-m {model} is neither a model folder nor a zip of nnUNetv2_export_model_to_zip.")
    with zipfile.ZipFile(model) as archive:
        archive.extractall(unpacked)
    found = sorted({file.parent for file in unpacked.rglob("plans.json") if (file.parent / "dataset.json").is_file()})
    if len(found) != 1:
        names = ", ".join(folder.name for folder in found) or "none"
        raise UserError(f"-m {model} should hold one model, but holds {names}: unpack it and give the folder.")
    return found[0]


def grid_of_training(model: Path) -> str:
    """Return the grid onto which `h2aseg convert` brought the training set; the PET's, as in AutoPET, if unknown."""
    conversion = read_dataset_json(model / "dataset.json").get("conversion") or {}
    spacing_mm = conversion.get("spacing_mm")
    if spacing_mm and len(set(spacing_mm)) == 1:
        return f"{spacing_mm[0]:g}"
    return "ct" if conversion and "AutoPET" not in str(conversion.get("layout")) else "pet"


def name_of(model: Path) -> str:
    """Return the name of the model in results and objects."""
    return f"{model.parent.name}/{model.name}" if model.parent.name.startswith("Dataset") else model.name
