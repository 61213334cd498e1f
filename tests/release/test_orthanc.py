"""A study goes to a real Orthanc, comes back by DICOMweb, is segmented, and the SEG is stored under its study."""

import email.parser
import json
import os
import shutil
import socket
import subprocess
import sysconfig
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

from h2aseg_nnunet.cli import main
from h2aseg_nnunet.modalities import PET
from tests.integration.test_segment import write_study
from tests.models import learn, make_network, make_plans, save_model

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

pytestmark = [
    pytest.mark.filterwarnings("default"),  # nnU-Net and what it stands on warn of their own matters
    pytest.mark.skipif(
        shutil.which("Orthanc") is None or not PLUGIN.exists(),
        reason="Orthanc with DICOMweb is not installed (Debian: orthanc, orthanc-dicomweb)",
    ),
]


class Server:
    """Orthanc's REST and DICOMweb interfaces."""

    def __init__(self, port: int):
        self.root = f"http://127.0.0.1:{port}"

    def get(self, path: str, accept: str = "application/json") -> tuple[str, bytes]:
        request = urllib.request.Request(self.root + path, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.headers["Content-Type"], answer.read()

    def store(self, files: list[Path]) -> None:
        """STOW-RS: all files in one request."""
        parts = b"".join(
            b"--part\r\nContent-Type: application/dicom\r\n\r\n" + file.read_bytes() + b"\r\n" for file in files
        )
        headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=part'}
        request = urllib.request.Request(
            self.root + "/dicom-web/studies", parts + b"--part--\r\n", headers | {"Accept": "application/dicom+json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200

    def fetch(self, path: str, folder: Path) -> list[Path]:
        """WADO-RS: every instance below a study or series."""
        kind, body = self.get(f"/dicom-web/{path}", 'multipart/related; type="application/dicom"')
        message = email.parser.BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        folder.mkdir(parents=True)
        files = []
        for number, part in enumerate(message.get_payload()):
            files.append(folder / f"instance{number}")
            files[-1].write_bytes(part.get_payload(decode=True))
        return files


@pytest.fixture
def server(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "Name": "test",
        "StorageDirectory": str(tmp_path / "orthanc"),
        "IndexDirectory": str(tmp_path / "orthanc"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomWeb": {"Enable": True},
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    with (tmp_path / "orthanc.log").open("w") as log:
        process = subprocess.Popen(["Orthanc", tmp_path / "orthanc.json"], stdout=log, stderr=log)
    made = Server(port)
    try:
        for _ in range(100):
            try:
                made.get("/system")
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "orthanc.log").read_text()
                time.sleep(0.2)
        yield made
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_a_study_is_fetched_segmented_and_its_seg_is_found_under_it(server, tmp_path):
    export = write_study(tmp_path / "scanner", "A")
    server.store(sorted(export.folder.iterdir()))
    fetched = server.fetch(f"studies/{export.uid}", tmp_path / "export")
    assert len(fetched) == 40
    torch.manual_seed(0)
    plans = make_plans()
    network = make_network(plans)
    learn(network, PET)
    model = save_model(tmp_path / "model", network, plans)
    out = tmp_path / "out"

    command = ["segment", "-i", tmp_path / "export", "-m", model, "-o", out, "--disable_tta", "--force", "--low-memory"]
    assert main([*map(str, command), "-device", "cpu"]) == 0
    (seg,) = out.rglob("seg.dcm")
    server.store([seg])

    _, answer = server.get(f"/dicom-web/studies/{export.uid}/series?Modality=SEG")
    (listed,) = json.loads(answer)
    series = listed["0020000E"]["Value"][0]
    (back,) = server.fetch(f"studies/{export.uid}/series/{series}", tmp_path / "back")
    assert points(read_with_dcmqi(back, tmp_path)) == points(SimpleITK.ReadImage(str(next(out.rglob("mask.nii.gz")))))


def read_with_dcmqi(file: Path, folder: Path) -> SimpleITK.Image:
    """Read by an independent program."""
    beside_python = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    reader = shutil.which("segimage2itkimage", path=beside_python)
    if reader is None:
        pytest.skip("dcmqi is not installed (pip install dcmqi)")
    done = subprocess.run(
        [reader, "--inputDICOM", file, "--outputDirectory", folder, "--prefix", "seg", "-t", "nifti"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return SimpleITK.ReadImage(str(folder / "seg-1.nii.gz"))


def points(image: SimpleITK.Image) -> set[tuple[float, ...]]:
    """Physical points of all marked voxels, to 0.1 mm."""
    return {
        tuple(np.round(image.TransformIndexToPhysicalPoint([int(i) for i in index[::-1]]), 1) + 0.0)
        for index in np.argwhere(SimpleITK.GetArrayFromImage(image))
    }
