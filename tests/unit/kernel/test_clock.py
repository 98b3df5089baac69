import pytest

from kernel.clock import ManualClock, SystemClock


def test_a_manual_clock_stands_until_it_is_moved():
    clock = ManualClock(1_700_000_000_000)
    assert (clock.now_ms(), clock.now_us()) == (1_700_000_000_000, 1_700_000_000_000_000)
    before = clock.monotonic_ms()
    clock.advance(5)
    assert clock.now_ms() == 1_700_000_000_005
    assert clock.monotonic_ms() == before + 5


def test_a_manual_clock_never_goes_back():
    with pytest.raises(AssertionError):
        ManualClock(10).advance(-1)


def test_the_system_clock_tells_one_time_in_two_units():
    clock = SystemClock()
    before_ms, now_us, after_ms = clock.now_ms(), clock.now_us(), clock.now_ms()
    assert before_ms - 1 <= now_us // 1_000 <= after_ms + 1
    assert clock.monotonic_ms() <= clock.monotonic_ms()
