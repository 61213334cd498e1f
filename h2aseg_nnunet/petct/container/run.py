"""Write a build context: what docker or podman needs to make an image of a model."""

import shutil
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from h2aseg_nnunet import __version__
from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.challenge import MODEL_PLACES
from h2aseg_nnunet.petct.challenge.interfaces import CT, INTERFACES, PET, Interface
from h2aseg_nnunet.petct.container.requirements import TORCH, pinned
from h2aseg_nnunet.petct.container.sample import CT_NAME, write_sample
from h2aseg_nnunet.petct.container.wheel import NAME, write_wheel
from h2aseg_nnunet.petct.files import OutputFolder, write_text
from h2aseg_nnunet.petct.nnunet.dataset_json import read_dataset
from h2aseg_nnunet.petct.nnunet.exported import checksum, name_of
from h2aseg_nnunet.petct.nnunet.models import find_folds
from h2aseg_nnunet.petct.own_files import OwnFiles
from h2aseg_nnunet.petct.plain_templates import render

MARK = "container.json"
SCRIPTS = ("build.sh", "test.sh", "save.sh")
OF_A_MODEL = ("plans.json", "dataset.json")


class Options(NamedTuple):
    """How the image predicts.

    Attributes:
        challenge: One of `CHALLENGES`.
        folds: Folds to average; empty for all that are trained.
        checkpoint: Name of the checkpoint's file.
        weights: One of `WEIGHTS`.
        base: Image to build on; empty for Python's own of the version that runs here.
        time_limit: Seconds for a case; None for the challenge's, if it is known.
        mirroring: Whether to use test-time augmentation.
    """

    challenge: str
    folds: tuple[str, ...] = ()
    checkpoint: str = "checkpoint_final.pth"
    weights: str = "inside"
    base: str = ""
    time_limit: float | None = None
    mirroring: bool = True


def write_context(model: Path, output: Path, options: Options) -> list[str]:
    """Write everything from which an image is built.

    Args:
        model: nnU-Net's results folder of one model.
        output: New folder, or that of an earlier call with the same model.
        options: How the image predicts.

    Returns:
        The folds that are in it.

    Raises:
        UserError: If the model does not fit the challenge, files are missing, or the folder holds something else.
    """
    interface = INTERFACES[options.challenge]
    _check(model, interface)
    folds = find_folds(model, options.folds, options.checkpoint)
    settings = {"model": name_of(model), "challenge": options.challenge}
    OutputFolder(output, MARK, "a build context of h2aseg container", ("challenge",)).claim(settings)
    partial = output / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(partial, model, folds, interface, options)
        OwnFiles(output).take(partial, last="Dockerfile")
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for script in SCRIPTS:
        (output / script).chmod(0o755)
    return folds


def _check(model: Path, interface: Interface) -> None:
    dataset = read_dataset(model / "dataset.json")
    if dataset.num_channels != 2:
        raise UserError(f"{model} reads {dataset.num_channels} images per case; {interface.title} gives CT and PET.")
    assert dataset.labels is not None
    highest = max(dataset.labels.values)
    if interface.classes > 1 and highest != interface.classes:
        raise UserError(
            f"{model} has the labels {', '.join(map(str, dataset.labels.values))}; {interface.title} wants 0 to "
            f"{interface.classes}."
        )


def _write(folder: Path, model: Path, folds: Sequence[str], interface: Interface, options: Options) -> None:
    _copy_model(model, folder / "model", folds, options.checkpoint)
    wheel = write_wheel(folder / "package")
    versions = pinned(NAME)
    torch = " ".join(f"{name}=={versions.pop(name)}" for name in TORCH if name in versions)
    write_text(folder / "requirements.txt", "".join(f"{name}=={version}\n" for name, version in versions.items()))
    write_sample(folder / "test" / "input", interface)
    command = ["--challenge", options.challenge, "-chk", options.checkpoint]
    seconds = options.time_limit or interface.seconds
    command += [] if seconds is None else ["--time-limit", f"{seconds:g}"]
    command += [] if options.mirroring else ["--disable_tta"]
    about: dict[str, Any] = {
        "base": options.base or f"docker.io/library/python:{sys.version_info[0]}.{sys.version_info[1]}-slim",
        "challenge": options.challenge,
        "command": command,
        "ct": CT,
        "expected": f"{interface.mask}/{CT_NAME if interface.by_uuid else 'output'}.mha",
        "folds": list(folds),
        "inside": options.weights == "inside",
        "interface": interface,
        "model": name_of(model),
        "package": checksum(wheel),
        "pet": PET,
        "place": MODEL_PLACES[1 if options.weights == "inside" else 0],
        "requirements": checksum(folder / "requirements.txt"),
        "seconds": seconds,
        "tag": f"h2aseg-{options.challenge}",
        "torch": torch,
        "version": __version__,
        "wheel": wheel.name,
    }
    for name in ("Dockerfile", "README.md", *SCRIPTS):
        template = files(__package__).joinpath("templates", name).read_text("utf-8")
        write_text(folder / name, render(template, about))
    write_text(folder / ".dockerignore", "test\n*.tar.gz\n" if about["inside"] else "test\nmodel\n*.tar.gz\n")


def _copy_model(model: Path, folder: Path, folds: Sequence[str], checkpoint: str) -> None:
    names = [*OF_A_MODEL, *(f"fold_{fold}/{checkpoint}" for fold in folds)]
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model / name, target)
