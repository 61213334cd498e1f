"""`h2aseg train-folds`: nnU-Net's own training of all folds of one trainer, here or as jobs of Slurm."""
