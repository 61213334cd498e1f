"""`h2aseg segment`: from DICOM studies or images to masks, lesion tables and DICOM objects, with any nnU-Net model."""
