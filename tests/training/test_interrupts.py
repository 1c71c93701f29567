"""Ctrl-C waits until nothing is half done, and never longer."""

import signal
import threading

import pytest

from fastnn.training.interrupts import held_back, terminable


def press() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def handler_is_restored():
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before is signal.default_int_handler


def test_whoever_asks_is_told_once():
    with held_back() as pressed:
        assert not pressed()
        press()
        assert pressed()
        assert not pressed()


def test_what_nobody_asked_for_is_raised_at_the_end():
    done = []
    with pytest.raises(KeyboardInterrupt), held_back():
        press()
        done.append(True)
    assert done


def test_the_second_time_does_not_wait():
    with pytest.raises(KeyboardInterrupt), held_back():
        press()
        press()
        pytest.fail("the second Ctrl-C was held back, too")


def test_an_error_is_not_replaced():
    with pytest.raises(ZeroDivisionError), held_back():
        press()
        raise ZeroDivisionError


def test_a_handler_of_the_hosts_is_left_alone():
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        with held_back() as pressed:
            press()
            assert seen and not pressed()
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_changes_nothing():
    handlers = []

    def work() -> None:
        with held_back() as pressed:
            handlers.append(signal.getsignal(signal.SIGINT))
            assert not pressed()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]


def test_a_generator_that_is_closed_loses_nothing():
    def work():
        with held_back():
            yield 1
            yield 2

    generator = work()
    next(generator)
    press()
    with pytest.raises(KeyboardInterrupt):
        generator.close()
    calm = work()
    next(calm)
    calm.close()


def test_a_handler_that_the_host_has_set_meanwhile_stays():
    def handler(*_):
        pass

    with held_back():
        signal.signal(signal.SIGINT, handler)
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is handler


def test_sigterm_is_ctrl_c():
    with pytest.raises(KeyboardInterrupt), terminable() as was_terminated:
        assert not was_terminated()
        signal.raise_signal(signal.SIGTERM)
    assert was_terminated() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with pytest.raises(KeyboardInterrupt), terminable() as was_terminated:
        press()
    assert not was_terminated()


def test_sigterm_is_held_back_too():
    done = []
    with terminable() as was_terminated:
        with pytest.raises(KeyboardInterrupt), held_back() as pressed:
            signal.raise_signal(signal.SIGTERM)
            assert pressed() and was_terminated()
            signal.raise_signal(signal.SIGTERM)
            done.append(True)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert done


def test_sigterm_is_held_back_where_ctrl_c_is_ignored():
    """As in a job that a shell has put into the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with terminable(), held_back() as pressed:
            press()
            assert not pressed()
            signal.raise_signal(signal.SIGTERM)
            assert pressed()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_hosts_sigterm_is_left_alone():
    seen = []
    signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
    try:
        with terminable() as was_terminated, held_back():
            signal.raise_signal(signal.SIGTERM)
            assert seen and not was_terminated()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
