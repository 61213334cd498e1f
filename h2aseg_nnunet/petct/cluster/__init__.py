"""Work on a cluster: cases on the workers of a Dask scheduler, and commands as jobs of Slurm."""
