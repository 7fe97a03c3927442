"""Threads that are lost, and who waits for them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from virt_ova import workers
from virt_ova.workers import Thread, Workers


def test_results_and_errors_come_back() -> None:
    with Workers(2) as pool:
        futures = [pool.submit(divmod, 7, number) for number in (1, 2, 0)]
        assert [pool.result(future) for future in futures[:2]] == [(7, 0), (3, 1)]
        with pytest.raises(ZeroDivisionError):
            pool.result(futures[2])


def test_an_error_that_means_too_late_is_one_of_the_work() -> None:
    def late() -> None:
        raise TimeoutError

    with Workers(1) as pool, pytest.raises(TimeoutError):
        pool.result(pool.submit(late))


def test_one_thread_works_in_order() -> None:
    seen: list[int] = []
    with Workers(1) as pool:
        for future in [pool.submit(seen.append, number) for number in range(100)]:
            pool.result(future)
    assert seen == list(range(100))


def test_without_threads_who_submits_does_it_at_once() -> None:
    with Workers(0) as pool:
        where, failed = pool.submit(threading.get_ident), pool.submit(divmod, 7, 0)
        assert where.done()
        assert pool.result(where) == threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            pool.result(failed)


def test_what_was_not_begun_is_not_when_the_context_is_left() -> None:
    begun, before = threading.Event(), threading.active_count()

    def first() -> None:
        begun.set()
        time.sleep(0.1)

    with Workers(1) as pool:
        running, waiting = pool.submit(first), pool.submit(pytest.fail)
        assert begun.wait(10)
    assert (running.done(), waiting.cancelled()) == (True, True)
    assert threading.active_count() == before


def test_a_thread_that_is_lost_at_work_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot even say that it failed, because there is no memory for that."""
    monkeypatch.setattr(workers, "_TICK_SECONDS", 0.05)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with Workers(2) as pool:
        future = pool.submit(int)
        pool.result(future)
        pool._tasks.put(lambda: future.set_result(2))  # raises, as it has one
        with pytest.raises(MemoryError):
            pool.result(pool.submit(time.sleep, 0.3))
        with pytest.raises(MemoryError):
            pool.check()


def test_a_thread_that_is_lost_at_its_begin_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_LOST_SECONDS", 0.05)
    monkeypatch.setattr(threading.Thread, "_bootstrap", lambda _: None)
    begun = threading.Event()
    with pytest.raises(MemoryError):
        Thread(begun.set).start()
    assert not begun.is_set()
    with pytest.raises(MemoryError), Workers(2):
        pytest.fail("it began")


NO_ROOM = """
import resource
from virt_ova.workers import Workers

with Workers(1) as pool:
    print(pool.result(pool.submit(int)), flush=True)
limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + (8 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    Workers(2).__enter__()
except MemoryError:
    print("no room")
"""


def test_where_there_is_no_room_none_is_started() -> None:
    done = subprocess.run([sys.executable, "-c", NO_ROOM], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "0\nno room\n"
