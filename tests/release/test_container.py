"""An image of a small model, built from Debian's packages and local wheels, does a challenge's case as on the platform.

It needs root, podman and debootstrap, and pip's registry for the wheels. H2ASEG_TORCH names the build of torch, for
instance "torch==2.13.0+cpu torchvision==0.28.0"; by default it is the one that runs here, without CUDA.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.modalities import PET
from h2aseg_nnunet.petct.container.requirements import TORCH, pinned
from tests.models import learn, make_network, make_plans, save_model
from tests.synthetic import ball, write_image

SHAPE, SPACING_MM = (20, 18, 16), (2.0, 2.0, 3.0)
BASE, TAG = "localhost/h2aseg-test-base", "localhost/h2aseg-test"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # nnU-Net and what it stands on warn of their own matters
    pytest.mark.skipif(
        os.geteuid() != 0 or None in map(shutil.which, ("podman", "debootstrap")),
        reason="root, podman and debootstrap are needed (Debian: podman, runc, debootstrap)",
    ),
]


def run(*command: object, **options) -> subprocess.CompletedProcess:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> dict[str, str]:
    """Environment in which podman runs inside a virtual machine or another container, too.

    crun, its default, knows neither hybrid control groups nor limits that may not be raised.
    """
    limits = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1] for name in ("nofile", "nproc")}
    ulimits = [f"{name}={min(limit, 1024)}:{min(limit, 1024)}" for name, limit in limits.items() if limit > 0]
    runtime = 'runtime = "runc"' if shutil.which("runc") else ""
    conf = tmp_path_factory.mktemp("podman") / "containers.conf"
    conf.write_text(f"[engine]\n{runtime}\n[containers]\ndefault_ulimits = {json.dumps(ulimits)}\n")
    return {**os.environ, "CONTAINERS_CONF": str(conf), "ENGINE": "podman", "TAG": TAG}


@pytest.fixture(scope="module")
def base(engine, tmp_path_factory) -> Iterator[str]:
    """Debian with Python, from Debian's own packages: no registry of images is asked."""
    root = tmp_path_factory.mktemp("debian") / "root"
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    packages = ("--variant=minbase", "--include=python3,python3-venv")
    # in a namespace of its own: what debootstrap mounts below the folder is gone before the folder is removed
    run("unshare", "--mount", "debootstrap", *packages, release["VERSION_CODENAME"], root)
    (interpreter,) = (root / "usr" / "bin").glob("python3.[0-9]*")
    if interpreter.name != f"python3.{sys.version_info.minor}":
        pytest.skip(f"wheels are pinned for Python 3.{sys.version_info.minor}, Debian has {interpreter.name}")
    run("sh", "-c", f"tar -C {root} --one-file-system -c . | podman import - {BASE}", env=engine)
    shutil.rmtree(root)
    yield BASE
    subprocess.run(["podman", "rmi", "--force", BASE], env=engine, capture_output=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    plans = make_plans()
    network = make_network(plans)
    learn(network, PET, 30)
    return save_model(tmp_path_factory.mktemp("model") / "T__P__3d_fullres", network, plans)


def fill_with_wheels(context: Path) -> str:
    """Put everything that pip will ask for into the context, and return the requirement of torch."""
    wheels = context / "wheels"
    pip = (sys.executable, "-m", "pip")
    given = " ".join(f"{name}=={pinned('h2aseg_nnunet')[name]}+cpu" for name in TORCH)
    wanted = os.environ.get("H2ASEG_TORCH", given)
    free = {**os.environ, "PIP_CONSTRAINT": ""}
    found = subprocess.run(
        [*pip, "download", "-q", "--no-deps", "-d", wheels, *wanted.split()], capture_output=True, text=True, env=free
    )
    if found.returncode:
        pytest.skip(f"pip finds no {wanted}; name another build of torch with H2ASEG_TORCH")
    run(*pip, "wheel", "-q", "--no-deps", "-w", wheels, "-r", context / "requirements.txt", env=free)
    for wheel in wheels.glob("torchvision-*.whl"):
        if "cpu" not in wheel.name and "cpu" in wanted:
            _without_operators(wheel)
    return wanted


def _without_operators(wheel: Path) -> None:
    """Leave the compiled operators out of a torchvision that was built for CUDA: nnU-Net imports it for one class."""
    with zipfile.ZipFile(wheel) as archive:
        contents = {each: archive.read(each) for each in archive.namelist() if not each.endswith(".so")}
    contents["torchvision/_meta_registrations.py"] = b""
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


@pytest.fixture(scope="module")
def context(engine, base, model, tmp_path_factory) -> Iterator[Path]:
    """A built image of the model, and its build context with a case in test/input."""
    folder = tmp_path_factory.mktemp("context") / "autopet3"
    assert main(["container", "-m", str(model), "--challenge", "autopet3", "-o", str(folder), "--base", base]) == 0
    torch_build = fill_with_wheels(folder)
    rng = np.random.default_rng(0)
    ct, pet = rng.normal(0, 0.2, (2, *SHAPE)).astype(np.float32)
    pet += 3 * ball(SHAPE, (12, 9, 5), 4)
    for place, array in (("ct", ct), ("pet", pet)):
        (file,) = (folder / "test" / "input" / "images" / place).iterdir()
        write_image(file, array, SPACING_MM)
    try:
        arguments = ("--isolation=chroot", "--build-arg", f"TORCH={torch_build}")
        run(
            folder / "build.sh",
            *arguments,
            "--build-arg",
            "PIP_OPTIONS=--no-index --find-links /build/wheels",
            env=engine,
        )
        yield folder
    finally:
        subprocess.run(["podman", "rmi", "--force", TAG], env=engine, capture_output=True)


def test_the_image_does_a_case_without_network_rights_and_a_disk_to_write_on(engine, context):
    """The mask is nnUNetv2_predict's in the same image, voxel by voxel."""
    done = run(context / "test.sh", env=engine)

    assert "1 folds with mirroring" in done.stdout and "one mask:" in done.stdout
    (file,) = (context / "test" / "output").rglob("*.mha")
    (ct,) = (context / "test" / "input" / "images" / "ct").iterdir()
    assert file.name == ct.name
    mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
    expected = predict_in_the_image(engine, context)
    assert expected.any()
    np.testing.assert_array_equal(mask, expected)
    assert file.stat().st_uid == 1000


def predict_in_the_image(engine, context) -> np.ndarray:
    images, output = context.parent / "images", context.parent / "masks"
    for folder in (images, output):
        folder.mkdir()
        folder.chmod(0o777)
    for channel, place in enumerate(("ct", "pet")):
        (file,) = (context / "test" / "input" / "images" / place).iterdir()
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(file)), str(images / f"case_{channel:04d}.nii.gz"))
    run(
        *("podman", "run", "--rm", "--network=none", f"--volume={images}:/images:ro", f"--volume={output}:/masks"),
        *("--entrypoint=nnUNetv2_predict_from_modelfolder", TAG, "-i", "/images", "-o", "/masks"),
        *("-m", "/opt/h2aseg/model", "-f", "0", "-device", "cpu", "-npp", "1", "-nps", "1"),
        env=engine,
    )
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(output / "case.nii.gz")))


def test_a_broken_case_is_an_empty_mask_and_success(engine, context):
    """What the platform runs: the entry point as it is, on a PET that is cut off."""
    broken, output = context.parent / "broken", context.parent / "broken_output"
    shutil.copytree(context / "test" / "input", broken)
    (pet,) = (broken / "images" / "pet").iterdir()
    pet.write_bytes(pet.read_bytes()[:500])
    output.mkdir()
    output.chmod(0o777)

    done = run(
        *("podman", "run", "--rm", "--network=none", "--cap-drop=ALL", "--read-only", "--shm-size=64m", "--tmpfs=/tmp"),
        *(f"--volume={broken}:/input:ro", f"--volume={output}:/output", TAG),
        env=engine,
    )

    assert "is empty." in done.stderr
    (file,) = output.rglob("*.mha")
    assert not SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))).any()


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
