"""A cohort on k workers with a GPU is k times as fast: a stub sleeps for as long as a model would take."""

import argparse
import os
import time

import pytest
from distributed import Scheduler, SpecCluster, Worker

from h2aseg_nnunet.petct.cluster.connect import workers_of
from h2aseg_nnunet.petct.parallel import Stage, chosen_engine

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

SECONDS_TO_PREPARE, SECONDS_TO_PREDICT, SECONDS_TO_WRITE = 0.6, 2.0, 0.6
CASES_PER_GPU = 8
LARGEST_LOSS = 0.15


def prepare(case):
    time.sleep(SECONDS_TO_PREPARE)
    return case


def predict(case):
    time.sleep(SECONDS_TO_PREDICT)
    return case


def write(case):
    time.sleep(SECONDS_TO_WRITE)
    return case


STAGES = [Stage(prepare), Stage(predict, on_gpu=True), Stage(write)]


def seconds_for(num_cases: int, num_gpus: int) -> float:
    """As many workers without a GPU as with one, in this process."""
    workers = {
        f"{name}_{number}": {"cls": Worker, "options": {"nthreads": 1, "resources": resources}}
        for number in range(num_gpus)
        for name, resources in (("with_gpu", {"GPU": 1}), ("without_gpu", {}))
    }
    scheduler = {"cls": Scheduler, "options": {"dashboard": False, "host": "127.0.0.1"}}
    with (
        SpecCluster(workers, scheduler, silence_logs=True) as cluster,
        workers_of(argparse.Namespace(scheduler=cluster.scheduler_address)),
    ):
        began = time.monotonic()
        assert sum(1 for _ in chosen_engine().run(STAGES, range(num_cases), None)) == num_cases
        return time.monotonic() - began


@pytest.mark.parametrize("num_gpus", [2, 4, 8])
def test_k_workers_are_k_times_as_fast(num_gpus):
    if os.getloadavg()[0] > (os.cpu_count() or 1):
        pytest.skip("this machine is busy: sleepers wake late")
    num_cases = num_gpus * CASES_PER_GPU
    alone = num_cases * SECONDS_TO_PREDICT + SECONDS_TO_PREPARE + SECONDS_TO_WRITE  # preparing and writing take turns

    seconds = seconds_for(num_cases, num_gpus)

    print(f"\n{num_cases} cases, {num_gpus} GPUs: {seconds:.1f} s, {alone / seconds:.2f} times as fast as 1 GPU")
    assert alone / seconds > (1 - LARGEST_LOSS) * num_gpus
