"""A cohort of 200 small studies, 20 of them faulty: 180 results, 20 refusals that name the fault."""

import csv
from pathlib import Path

import pytest
import torch
from pydicom import dcmread

from h2aseg_nnunet.cli import main
from tests.models import make_network, make_plans, save_model
from tests.unit.petct.dicom.exports import DRUG, ORIGIN_MM, SHAPE, Export

pytestmark = pytest.mark.filterwarnings("default")  # nnU-Net and what it stands on warn of their own matters


def without(name):
    return lambda export: export.add_pet(number=2, **{name: None})


def cut_off(export):
    file = export.add_pet(number=2)[1]
    file.write_bytes(file.read_bytes()[:-20])


def short_pixels(export):
    file = export.add_pet(number=2)[1]
    ds = dcmread(file)
    ds.PixelData = ds.PixelData[:10]
    ds.save_as(file)


def missing_slice(export):
    export.add_pet(number=2)[2].unlink()


def doubled_slice(export):
    file = export.add_pet(number=2)[2]
    (export.folder / "copy").write_bytes(file.read_bytes())


def tilted(export):
    export.add_pet(number=2, positions_mm=[ORIGIN_MM + k * ORIGIN_MM / 50 for k in range(SHAPE[0])])


FAULTS = {
    "PatientWeight (0010,1030) is missing": without("PatientWeight"),
    "DecayCorrection (0054,1102) is missing": without("DecayCorrection"),
    "not corrected for attenuation": lambda export: export.add_pet(number=2, CorrectedImage=["DECY"]),
    "looks like MBq": lambda export: export.add_pet(number=2, drug=DRUG | {"RadionuclideTotalDose": 350}),
    "half-lives before": lambda export: export.add_pet(
        number=2, drug=DRUG | {"RadiopharmaceuticalStartDateTime": "20200101090000"}
    ),
    "damaged": short_pixels,
    "is damaged": cut_off,
    "lacks 1 slices": missing_slice,
    "doubled slices": doubled_slice,
    "tilted gantry": tilted,
}


@pytest.mark.slow
def test_180_of_200_studies_are_segmented_and_20_refused_by_name(tmp_path):
    torch.manual_seed(0)
    plans = make_plans()
    model = save_model(tmp_path / "model", make_network(plans), plans)
    faults = list(FAULTS.items()) * 2
    for number in range(200):
        export = Export(tmp_path / "export" / f"folder{number:03d}", f"P{number:03d}")
        export.add_ct()
        if number % 10 == 9:
            faults[number // 10][1](export)
        else:
            export.add_pet(number=2)
    (tmp_path / "export" / "notes.txt").write_text("no DICOM")

    command = ["segment", "-i", tmp_path / "export", "-m", model, "-o", tmp_path / "out", "--disable_tta", "--force"]
    assert main([*map(str, command), "-device", "cpu", "-np", "2"]) == 1

    rows = read(tmp_path / "out" / "summary.csv")
    refused = {row["case"]: row["message"] for row in rows if row["status"] == "refused"}
    assert len(rows) == 200 and len(refused) == 20
    for number, (said, _) in enumerate(faults):
        assert said in refused[f"P{10 * number + 9:03d}_20240301"]
    assert len(list((tmp_path / "out" / "cases").iterdir())) == 180


def read(file: Path) -> list[dict[str, str]]:
    with file.open() as stream:
        return list(csv.DictReader(stream))
