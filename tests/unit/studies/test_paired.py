import json
import sys

from studies.paired import main


def test_differences_of_cases_that_have_a_value_in_both(tmp_path, monkeypatch, capsys):
    """The last case has no lesion: no Dice, but its false-positive volume counts."""
    for name, dice, volume in (("stock", (0.5, 0.6, None), (1, 1, 4)), ("other", (0.7, 0.8, None), (1, 1, 1))):
        cases = {
            case: {"dice": d, "false_positive_volume_ml": v, "false_negative_volume_ml": d and 0}
            for case, d, v in zip("abc", dice, volume, strict=True)
        }
        (tmp_path / f"{name}.json").write_text(json.dumps({"cases": cases}))
    files = [str(tmp_path / f"{name}.json") for name in ("stock", "other")]
    picture = tmp_path / "cases.png"
    monkeypatch.setattr(sys, "argv", ["paired", *files, "--figure", str(picture)])

    main()

    assert picture.read_bytes().startswith(b"\x89PNG")
    table = capsys.readouterr().out
    assert "| other | dice | 2 | 0.750 [0.700, 0.800] | +0.200 [+0.200, +0.200] | 0.5 |" in table
    assert "| stock | false_positive_volume_ml | 3 | 2.000 [1.000, 4.000] | | |" in table
    assert "| other | false_positive_volume_ml | 3 | 1.000 [1.000, 1.000] | -1.000 [-3.000, +0.000] | 1 |" in table
    assert "| other | false_negative_volume_ml | 2 | 0.000 [0.000, 0.000] | +0.000 [+0.000, +0.000] | 1 |" in table
