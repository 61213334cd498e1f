import argparse
import json
from importlib.metadata import PackageNotFoundError

import pytest

from h2aseg_nnunet.errors import UserError
from h2aseg_nnunet.petct.cluster import attempts, connect
from h2aseg_nnunet.petct.cluster.connect import workers_of
from h2aseg_nnunet.petct.parallel import chosen_engine, in_parallel


def options(scheduler, **more):
    return argparse.Namespace(scheduler=scheduler, **more)


def square(number):
    return number**2


def test_without_scheduler_this_machine_works_and_paths_stay_as_they_are():
    given = options(None, images="images")
    with workers_of(given, reads=["images"], writes=["images"]):
        assert chosen_engine() is None
    assert given.images == "images"


def test_paths_become_absolute(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    given = options(address, images="images", output="new/out", references=None)

    with workers_of(given, reads=["images", "references"], writes=["output"]):
        assert chosen_engine() is not None
        assert len([file for file in tmp_path.iterdir() if file.name.startswith(".h2aseg")]) == 1

    assert given == options(address, images=f"{tmp_path}/images", output=f"{tmp_path}/new/out", references=None)
    assert [file.name for file in tmp_path.iterdir()] == ["images"]
    assert chosen_engine() is None


def test_a_path_that_workers_do_not_see_is_an_error_before_any_work(address, tmp_path, monkeypatch):
    monkeypatch.setattr(attempts, "unseen", lambda paths: list(paths))

    with (
        pytest.raises(UserError, match=rf"2 of 2 workers, .* do not see {tmp_path}.*storage that they share"),
        workers_of(options(address, images=str(tmp_path)), reads=["images"]),
    ):
        pytest.fail("work has begun")


def test_a_worker_that_joins_later_and_does_not_see_a_path_is_named(address, tmp_path, monkeypatch):
    with (
        pytest.raises(UserError, match=rf"The worker .* does not see {tmp_path}.*stop this one"),
        workers_of(options(address, images=str(tmp_path)), reads=["images"]),
    ):
        monkeypatch.setattr(attempts, "unseen", lambda paths: list(paths))
        list(in_parallel(square, range(4), 1))


def test_paths_that_exist_are_seen(tmp_path):
    assert attempts.unseen([str(tmp_path), str(tmp_path / "absent")]) == [str(tmp_path / "absent")]


def test_a_scheduler_file_names_the_scheduler(address, tmp_path):
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": address}))

    with workers_of(options(str(file))):
        assert dict(in_parallel(square, [3], 1)) == {3: 9}


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ("scheduler.json", "an address such as tcp://head:8786, or a scheduler file, is expected"),
        ("tcp://127.0.0.1:9", "no Dask scheduler answers there"),
        ("carrier pigeon://head:1", "no Dask scheduler answers there"),
    ],
)
def test_no_scheduler(scheduler, message, monkeypatch):
    monkeypatch.setattr(connect, "SECONDS_TO_CONNECT", 0.5)
    with pytest.raises(UserError, match=message), workers_of(options(scheduler)):
        pass


def test_another_version_is_refused(address, monkeypatch):
    monkeypatch.setattr(connect, "__version__", "99.0")
    with (
        pytest.raises(UserError, match=r"scheduler has version .* of h2aseg_nnunet, not 99\.0: install the same"),
        workers_of(options(address)),
    ):
        pass


def test_a_scheduler_without_the_package_is_refused(address, monkeypatch):
    monkeypatch.setattr(connect, "version", missing)
    with (
        pytest.raises(UserError, match=r"The scheduler has no installation of h2aseg_nnunet"),
        workers_of(options(address)),
    ):
        pass


def missing(package):
    raise PackageNotFoundError(package)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(connect, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'h2aseg_nnunet\[cluster\]'"), workers_of(options("tcp://head:1")):
        pass
