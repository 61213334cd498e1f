"""Masks as DICOM objects that a viewer shows on the images: Segmentation and RT Structure Set."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import highdicom
import numpy as np
from contourpy import LineType, contour_generator
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from highdicom.sr.coding import CodedConcept
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from h2aseg_nnunet import __version__
from h2aseg_nnunet.petct.dicom.series import Series, Slice
from h2aseg_nnunet.petct.dicom.stack import Stack, stack
from h2aseg_nnunet.petct.files import replacing

NEOPLASM = CodedConcept("108369006", "SCT", "Neoplasm")
ABNORMAL = CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
NOTE = "For research, not for diagnosis"
MANUFACTURER = "h2aseg_nnunet"
MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
"""What every object of a study has, empty where it is unknown; anonymization removes it, against the standard."""

COLORS = ((255, 64, 64), (64, 160, 255), (64, 255, 64), (255, 192, 0))


def write_seg(file: Path, masks: Mapping[str, NDArray], series: Series, algorithm: str) -> None:
    """Write a DICOM Segmentation with a segment per class, which references the slices of a series.

    Args:
        file: The object to write.
        masks: By name of the class: a mask (z, y, x) on the series' own grid, in the order of `stack(series)`.
        series: The images on which the masks lie.
        algorithm: Name of the model.
    """
    stacked = stack(series)
    identification = highdicom.AlgorithmIdentificationSequence(
        name=algorithm[:64], family=codes.cid7162.ArtificialIntelligence, version=__version__
    )
    segments = [
        SegmentDescription(
            segment_number=number,
            segment_label=name[:64],
            segmented_property_category=ABNORMAL,
            segmented_property_type=NEOPLASM,
            algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=identification,
        )
        for number, name in enumerate(masks, start=1)
    ]
    headers, order = _headers(stacked)
    pixels = np.stack([mask != 0 for mask in masks.values()], axis=-1)[order].astype(np.uint8)
    segmentation = highdicom.seg.Segmentation(
        source_images=headers,
        pixel_array=pixels,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=generate_uid(),
        series_number=_new_number(series, 1),
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=algorithm[:64],
        software_versions=__version__,
        device_serial_number="0",
        content_description=NOTE,
        content_label="TUMOR",
        series_description=f"Tumor segmentation ({NOTE.lower()})",
        omit_empty_frames=bool(pixels.any()),
    )
    with replacing(file) as temporary:
        segmentation.save_as(temporary)


def write_rtstruct(file: Path, masks: Mapping[str, NDArray], series: Series, algorithm: str) -> None:
    """Write an RT Structure Set: planar contours along the borders of the masks' voxels, one ROI per class.

    Holes are contours of their own inside the outer one; readers combine them by exclusive or.

    Args:
        file: The object to write.
        masks: As for `write_seg`.
        series: The images on which the contours lie; a file per slice is expected for the references.
        algorithm: Name of the model.
    """
    stacked = stack(series)
    header = series.header
    ds = _rtstruct_header(header, series, algorithm)
    ds.ReferencedFrameOfReferenceSequence = [_referenced_frame(header, series, stacked)]
    ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence = [], [], []
    for number, (name, mask) in enumerate(masks.items(), start=1):
        ds.StructureSetROISequence.append(
            _dataset(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=series.frame_of_reference,
                ROIName=name[:64],
                ROIGenerationAlgorithm="AUTOMATIC",
            )
        )
        contours = [
            _dataset(
                ContourImageSequence=[_reference(header, stacked.slices[k])],
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(points),
                ContourData=[f"{value:.4f}" for value in points.ravel()],
            )
            for k, points in _contours(np.asarray(mask) != 0, stacked)
        ]
        roi = _dataset(ReferencedROINumber=number, ROIDisplayColor=list(COLORS[(number - 1) % len(COLORS)]))
        if contours:
            roi.ContourSequence = contours
        ds.ROIContourSequence.append(roi)
        ds.RTROIObservationsSequence.append(
            _dataset(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="", ROIInterpreter="")
        )
    with replacing(file) as temporary:
        ds.save_as(temporary, enforce_file_format=True)


def _headers(stacked: Stack) -> tuple[list[Dataset], list[int]]:
    """Headers of the source images, and the index in the volume of each of their frames."""
    files = list(dict.fromkeys(each.file for each in stacked.slices))
    headers: list[Dataset] = [dcmread(file, stop_before_pixels=True, force=True) for file in files]
    for header in headers:
        for name in MAY_BE_EMPTY:
            if name not in header:
                setattr(header, name, "")
    if len(files) == len(stacked.slices):
        return headers, list(range(len(files)))
    return headers, [index for index, _ in sorted(enumerate(stacked.slices), key=lambda pair: pair[1].frame)]


def _new_number(series: Series, offset: int) -> int:
    """A series number that scanners do not use."""
    return 9000 + 10 * (series.number % 90) + offset


def _rtstruct_header(header: Dataset, series: Series, algorithm: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = RTStructureSetStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for name in MAY_BE_EMPTY:
        setattr(ds, name, header.get(name, ""))
    for name in ("StudyInstanceUID", "FrameOfReferenceUID"):
        setattr(ds, name, header[name].value)
    if "SpecificCharacterSet" in header:
        ds.SpecificCharacterSet = header.SpecificCharacterSet
    ds.PositionReferenceIndicator = header.get("PositionReferenceIndicator", "")
    now = datetime.now()
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.SeriesInstanceUID, ds.SeriesNumber = "RTSTRUCT", generate_uid(), _new_number(series, 2)
    ds.SeriesDescription = f"Tumor contours ({NOTE.lower()})"
    ds.InstanceNumber, ds.OperatorsName = 1, ""
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = MANUFACTURER, algorithm[:64], __version__
    ds.StructureSetLabel, ds.StructureSetDescription = "TUMOR", NOTE
    ds.StructureSetDate, ds.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    ds.ApprovalStatus = "UNAPPROVED"
    return ds


def _referenced_frame(header: Dataset, series: Series, stacked: Stack) -> Dataset:
    images = _dataset(
        SeriesInstanceUID=series.uid, ContourImageSequence=[_reference(header, each) for each in stacked.slices]
    )
    study = _dataset(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",  # detached study management, as the standard asks for here
        ReferencedSOPInstanceUID=header.StudyInstanceUID,
        RTReferencedSeriesSequence=[images],
    )
    return _dataset(FrameOfReferenceUID=series.frame_of_reference, RTReferencedStudySequence=[study])


def _reference(header: Dataset, each: Slice) -> Dataset:
    reference = _dataset(ReferencedSOPClassUID=header.SOPClassUID, ReferencedSOPInstanceUID=each.uid)
    if "PerFrameFunctionalGroupsSequence" in header:
        reference.ReferencedFrameNumber = each.frame + 1
    return reference


def _contours(mask: NDArray[np.bool_], stacked: Stack) -> list[tuple[int, NDArray]]:
    """Closed contours (points, 3) in mm, with the slice of each, halfway between inside and outside voxels."""
    step = np.reshape(stacked.direction, (3, 3)) * stacked.spacing_mm
    contours = []
    for k in np.flatnonzero(mask.any(axis=(1, 2))):
        padded = np.pad(mask[k].astype(float), 1)
        for line in contour_generator(z=padded, line_type=LineType.Separate).lines(0.5):
            points = np.asarray(line)[:-1] - 1  # the last repeats the first
            index = np.column_stack([points, np.full(len(points), k)])
            contours.append((int(k), stacked.origin_mm + index @ step.T))
    return contours


def _dataset(**elements: object) -> Dataset:
    ds = Dataset()
    for name, value in elements.items():
        setattr(ds, name, value)
    return ds


def masks_of(labels: NDArray, classes: Mapping[str, Sequence[int]]) -> dict[str, NDArray[np.bool_]]:
    """Split a label map into a mask per class."""
    return {name: np.isin(labels, values) for name, values in classes.items()}
