from pathlib import Path

import pytest

from tests.integration.nnunet_workspace import Workspace


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)
            if item.get_closest_marker("filterwarnings") is None:
                item.add_marker(pytest.mark.filterwarnings("default"))  # nnU-Net and its libraries warn of much


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """nnU-Net's folders, shared by all tests here: a dataset is prepared, and a fold trained, once."""
    return Workspace(tmp_path_factory.mktemp("nnunet"))
