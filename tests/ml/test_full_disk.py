"""A disk that is full, or a lake that cannot be written: a clear error, and what is published stays whole."""

import resource
import shutil
import subprocess

import polars as pl
import pytest

from assets.failures import one_line
from ml.lake import Lake
from tests.ml.publishing_child import MONTHS, broken, log, publish

JANUARY = pl.DataFrame({"value": [1], "partition_key": ["2013-01"]})
DISK = 12_000_000
FREE = (0, 8_000, 60_000, 150_000, 200_000, 280_000, 300_000, 320_000, 400_000, 700_000, 1_100_000)  # bytes


def mounted(folder, *options):
    """Mount a small file system of its own on `folder`; skip where this is not allowed."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount a file system: {done.stderr.decode().strip()}")


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted(folder, f"size={DISK}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk, leave):
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    ballast.write_bytes(b"\0" * max(shutil.disk_usage(disk).free - leave, 0))
    return ballast


def test_a_full_disk_fails_the_publish_with_one_clear_line_and_spares_what_is_published(disk):
    publish(disk, MONTHS, 0)
    failed = []
    for number, leave in enumerate(FREE, start=1):
        ballast, before = fill(disk, leave), log(disk)
        try:
            publish(disk, MONTHS, number)
        except Exception as error:
            failed.append((leave, one_line(error)))
        assert broken(disk) is None
        assert log(disk)[: len(before)] == before
        ballast.unlink()
    assert {line.partition(";")[0] for _, line in failed} == {"the disk is full"}
    assert {0, 8_000, 60_000} <= {leave for leave, _ in failed}
    assert len(failed) >= 5, "the disk was never full in the middle of a publish"
    version = publish(disk, MONTHS, 99)
    assert log(disk)[-1] == version
    assert broken(disk) is None


def test_a_file_that_may_not_grow_fails_the_publish_and_spares_what_is_published(tmp_path):
    """The same where no file system may be mounted: the kernel refuses to let a file grow (EFBIG)."""
    publish(tmp_path, MONTHS, 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match=r"table 'features/gauge_state' was not written, nothing .* has changed: .*"):
            publish(tmp_path, MONTHS, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert broken(tmp_path) is None
    assert log(tmp_path) == [0]
    publish(tmp_path, MONTHS, 2)
    assert broken(tmp_path) is None


def test_a_lake_that_cannot_be_written_says_so_and_changes_nothing(disk):
    lake = Lake(disk / "lake")
    lake.replace("raw/x", JANUARY, ["2013-01"])
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    refused = r"table 'raw/x' was not written, nothing in .*lake/raw/x has changed: .*see that the folder is writable"
    with pytest.raises(OSError, match=refused):
        lake.replace("raw/x", JANUARY, ["2013-01"])
    with pytest.raises(OSError, match=refused), lake.lock("raw/x"):
        pass
    assert lake.version("raw/x") == 0
    assert lake.read("raw/x").collect().equals(JANUARY)
