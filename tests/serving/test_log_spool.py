import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.log_spool import LOG_SUFFIX, SUFFIX, Spool, orphans, recover

# Puts numbered pieces in and says which are in; a thread drains, as the prediction log does.
_WRITER = """
import sys, threading, time
from pathlib import Path
from serving.log_spool import Spool

spool = Spool.create(Path(sys.argv[1]), 1 << 16)

def drain():
    while True:
        spool.drain()
        time.sleep(0.0005)

threading.Thread(target=drain, daemon=True).start()
number = 0
while True:
    if spool.put(b"%08d" % number + b"x" * (number % 900) + b"\\n"):
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
        number += 1
"""


def pieces(path: Path) -> list[int]:
    lines = path.read_bytes().split(b"\n")
    assert lines[-1] == b""
    numbers = [int(line[:8]) for line in lines[:-1]]
    assert [len(line) - 8 for line in lines[:-1]] == [number % 900 for number in numbers]
    return numbers


def test_what_is_put_in_comes_out_in_order_also_around_the_end_of_the_ring(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path / f"a{SUFFIX}", 1000)
    put = b""
    for number in range(200):
        piece = bytes([number]) * (number % 300)
        assert spool.put(piece)
        put += piece
        if number % 3 == 0 or number % 300 > 200:
            spool.drain()
    spool.close()
    assert (tmp_path / f"a{LOG_SUFFIX}").read_bytes() == put
    assert not list(tmp_path.glob(f"*{SUFFIX}"))


def test_what_does_not_fit_is_refused_whole_and_counted(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path / f"a{SUFFIX}", 100)
    assert spool.put(b"a" * 60)
    assert not spool.put(b"b" * 41)
    assert spool.put(b"c" * 40)
    assert (spool.refused, spool.waiting) == (1, 100)
    spool.close()
    assert (tmp_path / f"a{LOG_SUFFIX}").read_bytes() == b"a" * 60 + b"c" * 40


def test_a_ring_in_use_is_nobody_s_to_recover(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path / f"a{SUFFIX}", 100)
    spool.put(b"mine")
    assert list(orphans(tmp_path)) == []
    assert recover(tmp_path) == 0
    spool.close()


@pytest.mark.parametrize("seed", range(12))
def test_a_writer_killed_at_any_moment_loses_nothing_and_repeats_nothing(tmp_path: Path, seed: int) -> None:
    path = tmp_path / f"a{SUFFIX}"
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, path], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(random.Random(seed).random() * 0.3)
    os.kill(writer.pid, signal.SIGKILL)
    told = writer.stdout.read().split(b"\n")[:-1]  # the last may be cut
    writer.wait()
    recover(tmp_path)
    found = pieces(tmp_path / f"a{LOG_SUFFIX}")
    assert found == list(range(len(found)))
    assert len(found) > len(told)
    assert not path.exists()


@pytest.mark.parametrize("moment", ["half written", "written, not recorded"])
def test_a_kill_in_the_middle_of_a_drain_neither_loses_nor_repeats(tmp_path: Path, moment: str) -> None:
    path, log = tmp_path / f"a{SUFFIX}", tmp_path / f"a{LOG_SUFFIX}"
    kill = {
        "half written": "s._write = lambda log, data: (os.write(log, data[:8]), os.kill(os.getpid(), 9))",
        "written, not recorded": "s.Spool._keep = lambda self, place, number: os.kill(os.getpid(), 9)",
    }[moment]
    code = (
        "import os, sys, serving.log_spool as s; from pathlib import Path\n"
        "spool = s.Spool.create(Path(sys.argv[1]), 1000); spool.put(b'old\\n'); spool.drain()\n"
        f"spool.put(b'first\\nsecond\\n')\n{kill}\nspool.drain()"
    )
    subprocess.run([sys.executable, "-c", code, path], env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert log.read_bytes() == (b"old\nfirst\nse" if moment == "half written" else b"old\nfirst\nsecond\n")
    recover(tmp_path)
    assert log.read_bytes() == b"old\nfirst\nsecond\n"


def test_a_refused_write_is_made_again_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool.create(tmp_path / f"a{SUFFIX}", 100)
    spool.put(b"one")

    def refuse(log: int, data: memoryview) -> None:
        os.write(log, data[:2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("serving.log_spool._write", refuse)
        with pytest.raises(OSError, match="No space"):
            spool.drain()
    spool.put(b"two")
    spool.close()
    assert (tmp_path / f"a{LOG_SUFFIX}").read_bytes() == b"onetwo"
