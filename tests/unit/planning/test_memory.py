import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from h2aseg_nnunet.planning.memory import TensorMemory


@pytest.mark.parametrize("fake", [True, False])
def test_bytes_are_counted_while_a_tensor_lives(fake):
    def run() -> None:
        x = torch.zeros(1000)  # 4,000 bytes
        y = x + 1
        del x
        view = y[::2]
        del y  # its storage lives on in the view
        z = view * 2  # 2,000 bytes
        del view, z

    memory = TensorMemory()
    if fake:
        with FakeTensorMode(), memory:
            run()
    else:
        with memory:
            run()

    assert memory.peak == 8000
    assert memory.allocated == 0


def test_counting_ends_at_the_limit():
    with pytest.raises(MemoryError), TensorMemory(limit=3999):
        torch.zeros(1000)
