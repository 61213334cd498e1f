"""`h2aseg segment`: from DICOM studies or images to masks, lesion tables and DICOM objects, with any nnU-Net model."""

OUTPUT_TYPES = ("nifti", "dicom_seg", "dicom_rtstruct")
"""Kinds of masks that can be written; DICOM objects only of DICOM studies."""
