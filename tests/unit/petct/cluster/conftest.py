"""A cluster in this process: one worker with a GPU, as far as Dask knows, and one without."""

import argparse

import dask
import pytest
from distributed import Scheduler, SpecCluster, Worker

from h2aseg_nnunet.petct.cluster.connect import workers_of
from tests.models import one_thread, registered  # noqa: F401
from tests.unit.petct.robustness.conftest import make_model  # noqa: F401


@pytest.fixture(scope="package")
def address():
    workers = {
        name: {"cls": Worker, "options": {"nthreads": 1, "name": name, "resources": resources}}
        for name, resources in (("with_gpu", {"GPU": 1}), ("without_gpu", {}))
    }
    scheduler = {"cls": Scheduler, "options": {"dashboard": False, "host": "127.0.0.1"}}
    patience = {f"distributed.comm.timeouts.{what}": "120s" for what in ("connect", "tcp")}  # of a busy machine
    with dask.config.set(patience), SpecCluster(workers, scheduler, silence_logs=True) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def on_cluster(address):
    """`in_parallel` works on the cluster."""
    with workers_of(argparse.Namespace(scheduler=address)):
        yield
