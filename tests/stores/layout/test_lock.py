"""The lock of a layout: one writer at a time, from the creation of the directory to the end of the process."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from mirrorsync.errors import Locked
from mirrorsync.stores.layout.store import LayoutDirectoryStore
from tests.parts.images import image, layer, write_layout
from tests.parts.mirrorsync import Mirrorsync
from tests.stores.layout.parts import described, files_at_rest, holds

MADE = image([layer({"etc/none": b""})])
PROCESSES, ROUNDS = 4, 30
HOLD = """
import sys
from pathlib import Path
from mirrorsync.stores.layout.store import LayoutDirectoryStore
store = LayoutDirectoryStore(Path(sys.argv[1]))
store.lock()
store.files.incoming.joinpath("half").write_bytes(b"half a blob")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(layout: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock and is writing a file."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, layout], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_writer_gets_an_error_and_changes_nothing(mirrorsync: Mirrorsync) -> None:
    target = mirrorsync.directory / "target"
    write_layout(mirrorsync.directory / "source", {"app:1": MADE})
    mirrorsync.spec({"destinations": {"disk": "oci:target"}, "mirrors": ["oci:source:app:1"]})
    with holder(target) as process:
        before = files_at_rest(target)
        done = mirrorsync("apply", code=6)
        assert f"another run is working on {target}" in done.err
        assert "the lock is released with its process" in done.err
        assert files_at_rest(target) == before  # the incomplete file of the other process still exists
        mirrorsync("plan", "--exit-code", code=10)  # a reader needs no lock
        process.send_signal(signal.SIGKILL)
        process.wait()
        mirrorsync("apply", code=0)
    assert holds(target, "app:1", MADE)
    assert not (target / ".incoming").exists()


def _race(base: Path, barrier: Barrier, won: multiprocessing.SimpleQueue[int]) -> None:
    for number in range(ROUNDS):
        store = LayoutDirectoryStore(base / str(number))
        barrier.wait()
        try:
            store.lock()
        except Locked:
            pass
        else:
            won.put(number)
        barrier.wait()
        if store.files.incoming.exists() and number % 2:
            store.files.close()


def test_of_many_runs_that_create_a_layout_at_once_one_gets_the_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, won = context.Barrier(PROCESSES, timeout=60), context.SimpleQueue()
    processes = [context.Process(target=_race, args=(tmp_path, barrier, won)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    winners = []
    while not won.empty():
        winners.append(won.get())
    assert sorted(winners) == list(range(ROUNDS))


def test_threads_of_one_run_do_not_lock_each_other_out(tmp_path: Path) -> None:
    count = 16
    for number in range(10):
        store = LayoutDirectoryStore(tmp_path / str(number))
        repository = store.repository("app")
        barrier = threading.Barrier(count)

        def put(one: int, barrier: threading.Barrier = barrier, repository: object = repository) -> None:
            data = f"blob {one}".encode()
            barrier.wait()
            repository.put(described(data), [data])  # type: ignore[attr-defined]

        with ThreadPoolExecutor(count) as pool:
            list(pool.map(put, range(count)))
        assert len(list((tmp_path / str(number) / "blobs/sha256").iterdir())) == count


def test_two_stores_of_one_process_lock_each_other_out_too(tmp_path: Path) -> None:
    first, second = LayoutDirectoryStore(tmp_path / "layout"), LayoutDirectoryStore(tmp_path / "layout")
    first.lock()
    first.lock()  # twice is once
    with pytest.raises(Locked) as caught:
        second.lock()
    assert caught.value.store == f"oci:{tmp_path}/layout"
