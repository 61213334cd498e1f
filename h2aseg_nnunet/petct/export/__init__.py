"""`h2aseg export`: a model as others take it: nnU-Net's zip, and a folder in Hugging Face's layout with its card."""
