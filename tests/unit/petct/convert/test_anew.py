"""`--overwrite`: a dataset is made anew beside the earlier one, and nothing else is removed."""

from tests.unit.petct.convert.layouts import CT_GRID, PET_GRID, arrange, convert, dataset, record


def test_another_conversion_into_the_same_folder_is_refused_unless_overwriting_is_asked_for(nnunet, capsys):
    command = arrange("hecktor 2022", nnunet / "source", CT_GRID, PET_GRID)
    assert convert(*command) == 0
    before = {file: file.read_bytes() for file in dataset(nnunet).rglob("*.*")}

    assert convert(*command, "--spacing", 3) == 1

    assert "with other settings (spacing_mm None, now [3.0, 3.0, 3.0])" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in dataset(nnunet).rglob("*.*")} == before
    assert convert(*command, "--spacing", 3, "--overwrite") == 0
    assert record(nnunet)["cases"]["one"]["spacing_mm"] == [3.0, 3.0, 3.0]
