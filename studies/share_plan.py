"""Give plans of one planner the patch, batch and preprocessed data of another: `python -m studies.share_plan A B`.

nnU-Net's planners choose other batch sizes for other networks. To compare networks and nothing else, plans A get
spacing, normalization, patch size, batch size and data of plans B; A keeps its network. Both are plans of nnU-Net
(nnUNet_preprocessed/DATASET/*.json) with strides that both patches allow.
"""

import argparse
import json
from pathlib import Path

from h2aseg_nnunet.petct.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.share_plan", description=__doc__.splitlines()[0])
    parser.add_argument("plans", type=Path, help="plans to be changed")
    parser.add_argument("reference", type=Path, help="plans to take all but the network from")
    parser.add_argument("-c", "--configuration", default="3d_fullres")
    parser.add_argument("--patch", type=int, nargs="+", help="patch size of both instead of the reference's own")
    parser.add_argument("--batch", type=int, help="batch size of both instead of the reference's own")
    options = parser.parse_args()
    plans, reference = (json.loads(file.read_text()) for file in (options.plans, options.reference))
    shared = reference["configurations"][options.configuration]
    shared |= {"patch_size": options.patch or shared["patch_size"], "batch_size": options.batch or shared["batch_size"]}
    own = plans["configurations"][options.configuration]
    if own["architecture"]["arch_kwargs"]["strides"] != shared["architecture"]["arch_kwargs"]["strides"]:
        raise SystemExit("The two plans have networks of different strides.")
    plans["configurations"][options.configuration] = shared | {"architecture": own["architecture"]}
    write_json(options.reference, reference)
    write_json(options.plans, plans)


if __name__ == "__main__":
    main()
