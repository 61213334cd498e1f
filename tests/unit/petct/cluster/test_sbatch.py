import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.cluster.sbatch import minutes, parse_sbatch


def test_options_are_read_as_sbatch_reads_them():
    text = "-p gpu --gres gpu:1 --time=1-12:00 --exclusive -c 8 --constraint 'a100|h100'"

    assert parse_sbatch(text) == {
        **{"partition": "gpu", "gres": "gpu:1", "time": "1-12:00", "exclusive": True, "cpus-per-task": "8"},
        "constraint": "a100|h100",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--partition gpu", "say how long a job may take, for instance --time 24:00:00"),
        ("partition=gpu --time 60", "partition=gpu is no option of sbatch"),
        ("--time 60 gpu", "gpu is no option of sbatch"),
        ("--time=60 gpu", "gpu is no option of sbatch"),
        ("-Z 3 --time 60", "-Z is not known; write it as sbatch's long option"),
        ("--time 60 --array 0-3", "leave --array out; h2aseg sets it"),
        ("--time '60", "No closing quotation"),
    ],
)
def test_what_is_no_list_of_options_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse_sbatch(text)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        *(("90", 90), ("90:30", 90), ("24:00:00", 1440), ("0:30:00", 30)),
        *(("2-0", 2880), ("2-12:30", 3630), ("1-00:00:59", 1440), ("0:10", 1)),
    ],
)
def test_times_in_every_form_of_slurm(time, expected):
    assert minutes(time) == expected


@pytest.mark.parametrize("time", ["a day", "1:2:3:4", True, "-5"])
def test_what_is_no_time_is_refused(time):
    with pytest.raises(UserError, match=r"is no time; expected is for instance 24:00:00"):
        minutes(time)
