"""Tools for PET/CT datasets and models of any nnU-Net trainer. They need nothing of the H2ASeg network."""
