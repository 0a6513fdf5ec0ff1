"""SQLite's log is read again by whoever opens the file after its writers were killed; others wait for that."""

import os
import signal
import subprocess
import sys
import time

WRITER = """
import os, sys
from ml.online_rows import OnlineRow, open_online_rows
from ml.packed import Field, pack
row = pack([Field("level", "float")], [1.0], 1, 1)
open_online_rows(sys.argv[1]).upsert("gauges", [OnlineRow(f"s{n}", row) for n in range(20_000)])
os.kill(os.getpid(), 9)
"""
READER = """
import sys, time
from ml.online_rows import open_online_rows
store = open_online_rows(sys.argv[1], read_only=True)
while time.time() < float(sys.argv[2]): pass
assert store.fetch([("gauges", ["s1"])], time.perf_counter() + 10)[0][0]
assert store.written(["gauges"]) == {"gauges"}
"""


def start(code, *words):
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], env=environment, stderr=subprocess.PIPE)


def test_readers_that_open_a_file_at_once_wait_for_the_one_that_reads_its_log(tmp_path):
    for number in range(4):
        address = tmp_path / f"{number}.db"
        assert start(WRITER, address).wait() == -signal.SIGKILL
        readers = [start(READER, address, time.time() + 1.0) for _ in range(4)]
        told = [reader.communicate()[1].decode() for reader in readers]
        assert [reader.returncode for reader in readers] == [0] * 4, told
