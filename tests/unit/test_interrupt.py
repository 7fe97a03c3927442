import signal
import threading
from collections.abc import Iterator

import pytest

from virt_ova.interrupt import (
    STOP_SIGNALS,
    Interrupted,
    held_back,
    ignore_stop_signals,
    let_pass,
    raise_on_stop_signals,
)


@pytest.fixture(autouse=True)
def _handlers_restored() -> Iterator[None]:
    before = {signum: signal.getsignal(signum) for signum in STOP_SIGNALS}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize(
    ("signum", "name"), [(signal.SIGINT, "SIGINT"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")]
)
def test_a_stop_signal_is_raised_and_says_which(signum: signal.Signals, name: str) -> None:
    raise_on_stop_signals()
    with pytest.raises(Interrupted, match=f"^{name}$") as caught:
        signal.raise_signal(signum)
    assert caught.value.signum == signum
    assert isinstance(caught.value, KeyboardInterrupt)


def test_a_signal_that_was_ignored_stays_ignored_as_nohup_wants() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise_on_stop_signals()
    signal.raise_signal(signal.SIGHUP)


def test_an_echo_of_a_signal_is_passed_over() -> None:
    raise_on_stop_signals()
    with pytest.raises(Interrupted):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)


def test_a_second_signal_after_a_while_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 10.9, 11.0])
    monkeypatch.setattr("virt_ova.interrupt.time.monotonic", lambda: next(clock))
    raise_on_stop_signals()
    with pytest.raises(Interrupted):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(Interrupted):
        signal.raise_signal(signal.SIGINT)


def test_a_wait_in_a_held_back_block_can_be_ended() -> None:
    raise_on_stop_signals()
    steps = []

    def work() -> None:
        with held_back() as held:
            with held.let_through():
                steps.append("waited")
            signal.raise_signal(signal.SIGTERM)
            steps.append("held")
            with held.let_through():
                steps.append("never")

    with pytest.raises(Interrupted, match=r"^SIGTERM$"):
        work()
    assert steps == ["waited", "held"]


def test_a_signal_in_a_wait_is_raised_there() -> None:
    raise_on_stop_signals()

    def work() -> None:
        with held_back() as held, held.let_through():
            signal.raise_signal(signal.SIGINT)
            pytest.fail("it was held back")

    with pytest.raises(Interrupted, match=r"^SIGINT$"):
        work()


def test_what_is_held_back_comes_once_the_block_is_done() -> None:
    steps = []

    def work() -> None:
        with held_back():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            steps.append("the block goes on")

    raise_on_stop_signals()
    with pytest.raises(Interrupted, match="SIGTERM"):
        work()
    assert steps == ["the block goes on"]


def test_an_error_of_the_block_goes_before_what_was_held_back() -> None:
    def work() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("the block's")

    raise_on_stop_signals()
    with pytest.raises(ValueError, match="the block's"):
        work()


def test_what_is_held_back_can_be_delivered_in_between() -> None:
    steps = []

    def work() -> None:
        with held_back() as held:
            held.deliver()
            signal.raise_signal(signal.SIGTERM)
            steps.append("held")
            held.deliver()
            steps.append("delivered")

    raise_on_stop_signals()
    with pytest.raises(Interrupted, match="SIGTERM"):
        work()
    assert steps == ["held"]
    assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGINT)


def test_holding_back_leaves_the_handlers_as_they_were() -> None:
    def mine(_signum: int, _frame: object) -> None:
        raise AssertionError

    signal.signal(signal.SIGTERM, mine)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with held_back():
        assert signal.getsignal(signal.SIGTERM) is not mine
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is mine


def test_in_another_thread_nothing_is_held_back() -> None:
    seen: list[object] = []

    def work() -> None:
        with held_back():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_once_they_are_let_pass_signals_raise_nothing() -> None:
    raise_on_stop_signals()
    let_pass()
    for signum in STOP_SIGNALS:
        signal.raise_signal(signum)


def test_letting_pass_leaves_foreign_handlers_alone() -> None:
    let_pass()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_once_they_are_ignored_signals_do_nothing_and_foreign_handlers_stay() -> None:
    raise_on_stop_signals()
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ignore_stop_signals()
    handlers = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert handlers == [signal.SIG_IGN, signal.SIG_DFL, signal.SIG_IGN]
    signal.signal(signal.SIGTERM, before)
