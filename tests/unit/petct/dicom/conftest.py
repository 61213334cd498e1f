import pytest

from h2aseg_nnunet.petct.dicom.tree import Study, read_tree
from tests.unit.petct.dicom.exports import Export


@pytest.fixture
def export(tmp_path) -> Export:
    return Export(tmp_path / "export")


@pytest.fixture
def only_study():
    """Reads the single study below an export's folder."""

    def read(export: Export) -> Study:
        (study,) = read_tree(export.folder).studies
        return study

    return read
