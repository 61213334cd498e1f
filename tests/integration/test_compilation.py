"""What compiled training keeps for backward, beside nnU-Net's U-Net on the same plan."""

from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from functorch.compile import make_boxed_func
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor, fx, nn
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.partitioners import min_cut_rematerialization_partition
from torch._inductor.decomposition import select_decomp_table

from benchmarks.traffic import PLANS, build
from h2aseg_nnunet.trainer import nnUNetTrainerH2ASeg
from h2aseg_nnunet.trainer.compilation import recomputed_activations


def bytes_kept(network: nn.Module, x: Tensor, setting: AbstractContextManager) -> int:
    """Of the graph that inductor would turn into code: what its forward hands to backward, and the outputs."""
    kept = []

    def count(graph: fx.GraphModule, inputs: list[Tensor]) -> fx.GraphModule:
        (outputs,) = graph.graph.output_node().args
        values = {each: each.meta["val"] for each in outputs if isinstance(each, fx.Node) and each.op != "placeholder"}
        kept.append(sum(v.numel() * v.element_size() for v in values.values() if isinstance(v, Tensor)))
        return make_boxed_func(graph.forward)

    backend = aot_autograd(
        fw_compiler=count,
        bw_compiler=lambda graph, inputs: make_boxed_func(graph.forward),
        partition_fn=min_cut_rematerialization_partition,
        decompositions=select_decomp_table(),
    )
    torch._dynamo.reset()
    with torch.autocast("cpu", torch.bfloat16), setting:
        torch.compile(network, backend=backend)(x)
    torch._dynamo.reset()
    return kept[0]


@pytest.mark.slow
def test_compiled_training_keeps_less_than_the_u_nets():
    configuration = PLANS["default 3D"] | {"patch_size": [64, 64, 64]}
    manager = PlansManager({"dataset_name": "none", "plans_name": "none", "configurations": {"c": configuration}})
    settings = (manager, manager.get_configuration("c"), 2, 2, True)
    x = torch.randn(2, 2, 64, 64, 64)

    stock = bytes_kept(build(nnUNetTrainer, settings).train(), x, nullcontext())
    ours = bytes_kept(build(nnUNetTrainerH2ASeg, settings).train(), x, recomputed_activations())

    assert ours < 0.5 * stock
