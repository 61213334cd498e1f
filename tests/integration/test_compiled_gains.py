import torch
from torch._dynamo.testing import CompileCounterWithBackend

from h2aseg_nnunet.trainer.tamw_log import measure_gains
from tests.models import make_network, make_plans


def test_measuring_leaves_the_compiled_network_alone():
    """No second graph, no hook left, the same outputs."""
    torch._dynamo.reset()
    network = make_network(make_plans()).eval()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(network, backend=counter)
    x = torch.randn(2, 2, 16, 16, 16)

    with torch.no_grad():
        before = compiled(x)
        gains = measure_gains(compiled, x, torch.device("cpu"))
        after = compiled(x)

    assert counter.frame_count == 1
    assert len(gains) == 2
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not any(module._forward_hooks for module in network.modules())
    torch._dynamo.reset()
