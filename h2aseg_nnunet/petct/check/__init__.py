"""`h2aseg check`: what is wrong, or suspicious, in PET/CT before nnU-Net sees it."""
