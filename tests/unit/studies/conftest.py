import pytest

from studies.results import DEFAULT, NETWORKS, UNET


@pytest.fixture
def write_cases(tmp_path):
    """Write a comparison: every network has 0.5 in cases a to d of seed 0, the default 0.1, 0.2, 0.3 and 0.4 more.

    Seed 1 has 0.1 more everywhere. `without` are runs to leave out: trainer, seed, fold.
    """

    def write(without=()):
        rows = ["trainer,seed,folds,case,dice,false_positive_volume_ml,false_negative_volume_ml"]
        for trainer in NETWORKS:
            for seed in (0, 1):
                for fold, case, more in zip((0, 0, 1, 1), "abcd", (0.1, 0.2, 0.3, 0.4), strict=True):
                    if (trainer, seed, fold) not in without:
                        dice = 0.5 + 0.1 * seed + more * (trainer == DEFAULT)
                        rows.append(f"{trainer}:plans,{seed},{fold},{case},{dice},{1 + (trainer == UNET)},0")
        file = tmp_path / "cases.csv"
        file.write_text("\n".join(rows) + "\n")
        return file

    return write
