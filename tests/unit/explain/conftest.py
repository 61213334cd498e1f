"""Models trained in seconds where a test needs it."""

from pathlib import Path

import pytest
import torch

from tests.models import learn, make_network, make_plans, one_thread, registered, save_model  # noqa: F401


@pytest.fixture(scope="session")
def trained_model(tmp_path_factory):
    """Model folders by the modality that carries the tumor, each trained once."""
    folders: dict[int, Path] = {}

    def get(carrier: int) -> Path:
        if carrier not in folders:
            torch.set_num_threads(1)
            plans = make_plans()
            network = make_network(plans)
            learn(network, carrier)
            folders[carrier] = save_model(tmp_path_factory.mktemp("models") / f"model{carrier}", network, plans)
        return folders[carrier]

    return get
