"""Small PET/CT studies as scanners export them: nameless files, every PET slice scaled by itself."""

from copy import deepcopy
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT_CLASS, PET_CLASS = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.128"
SHAPE = (6, 5, 4)  # z, y, x
SPACING_MM = (3.0, 2.0, 1.5)
ORIGIN_MM = np.array([-10.0, 20.0, 100.0])
AXIAL = np.eye(3)  # columns: directions of x, y, z

PET_HEADER = {
    "Manufacturer": "SIEMENS",
    "Units": "BQML",
    "CorrectedImage": ["DECY", "ATTN", "SCAT"],
    "DecayCorrection": "START",
    "PatientWeight": 70.0,
    "SeriesDate": "20240301",
    "SeriesTime": "100000",
    "AcquisitionDate": "20240301",
    "AcquisitionTime": "100000",
    "FrameReferenceTime": 0,
    "ActualFrameDuration": 120000,
}
DRUG = {
    "RadionuclideTotalDose": 350e6,
    "RadionuclideHalfLife": 6586.2,
    "RadiopharmaceuticalStartTime": "090000",
}


class Export:
    """A study in a folder, to which series are added; patient and frame of reference are shared."""

    def __init__(self, folder: Path, patient: str = "P1"):
        self.folder, self.patient = folder, patient
        self.uid, self.frame_of_reference = generate_uid(), generate_uid()
        folder.mkdir(parents=True, exist_ok=True)

    def add_ct(self, values: np.ndarray | None = None, **changes) -> list[Path]:
        """CT of stored values minus 1024; returns its files from the first to the last slice."""
        values = np.arange(np.prod(SHAPE)).reshape(SHAPE) if values is None else values
        return self._add(CT_CLASS, "CT", values, [(1.0, -1024.0)] * len(values), {}, {}, **changes)

    def add_pet(self, activity: np.ndarray | None = None, drug: dict | None = None, **changes) -> list[Path]:
        """PET of an activity, by default 1000 everywhere; each slice has its own slope. None removes an element."""
        activity = np.full(SHAPE, 1000.0) if activity is None else activity
        slopes = [(0.5 + 0.25 * (k % 3), 0.0) for k in range(len(activity))]
        return self._add(PET_CLASS, "PT", activity, slopes, PET_HEADER, DRUG if drug is None else drug, **changes)

    def _add(
        self, sop_class, modality, values, scales, header, drug, axes=AXIAL, positions_mm=None, number=1, series=None,
        description="", reverse=False, **changes,
    ):  # fmt: skip
        series = series or generate_uid()
        files = []
        for k, (slope, intercept) in enumerate(scales):
            ds = self._instance(sop_class, modality, series, number, description)
            for name, value in deepcopy(header | changes).items():
                if value is not None:
                    setattr(ds, name, value[k] if isinstance(value, tuple) else value)
            if drug:
                item = Dataset()
                for name, value in drug.items():
                    setattr(item, name, value)
                ds.RadiopharmaceuticalInformationSequence = Sequence([item])
            position = ORIGIN_MM + axes[:, 2] * SPACING_MM[0] * k if positions_mm is None else positions_mm[k]
            ds.ImagePositionPatient = [float(v) for v in np.round(position, 4)]
            ds.ImageOrientationPatient = [float(v) for v in np.round(np.r_[axes[:, 0], axes[:, 1]], 6)]
            ds.InstanceNumber = len(scales) - k if reverse else k + 1
            ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
            stored = np.round((values[k] - intercept) / slope) if sop_class == PET_CLASS else values[k]
            ds.PixelData = stored.astype("<i2").tobytes()
            file = self.folder / generate_uid().split(".")[-1][:16]
            ds.save_as(file, enforce_file_format=True)
            files.append(file)
        return files

    def _instance(self, sop_class, modality, series, number, description) -> FileDataset:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID = self.uid, series
        ds.FrameOfReferenceUID = self.frame_of_reference
        ds.PatientID, ds.StudyDate, ds.StudyTime, ds.Modality = self.patient, "20240301", "095500", modality
        ds.SeriesNumber, ds.SeriesDescription, ds.ImageType = number, description, ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.Rows, ds.Columns, ds.PixelSpacing, ds.SliceThickness = *SHAPE[1:], list(SPACING_MM[1:]), SPACING_MM[0]
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 1
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
        return ds
