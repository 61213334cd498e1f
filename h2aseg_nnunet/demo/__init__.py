"""Demonstration on synthetic PET/CT: it needs no patient data and no GPU."""
