"""PET/CT collections as nnU-Net raw datasets: `h2aseg convert`.

A converter (`autopet`, `hecktor`, `pairs`) only looks at names and returns a `plan.Plan`; `convert` carries it out, one
`convert_case` per study.
"""
