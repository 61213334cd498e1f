"""DICOM studies of PET/CT: CT in HU and PET in SUV out of a scanner's export. The extra `dicom` installs pydicom."""
