"""Who computes a hop while others wait for their first audio."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mamtra.synthesis.hop_order import ALONG, HELD, RIDES, SOON, choose


class Stream(NamedTuple):
    name: str
    in_hand: float
    since: float

    def slack(self, now, rate):
        return self.in_hand


def names(ready, *, waits=True, most=64, now=10.0):
    found = choose(ready, now, 24000, most, somebody_waits=waits)
    return "".join(stream.name for stream in found.streams), found.again


def test_without_anybody_who_waits_all_go_the_most_urgent_first():
    ready = [Stream("a", 5.0, 10.0), Stream("b", 1.0, 10.0), Stream("c", 3.0, 10.0)]
    assert names(ready, waits=False) == ("bca", None)
    assert names(ready, waits=False, most=2) == ("bc", None)
    assert names([], waits=False) == ("", None)


def test_audio_in_hand_lets_those_who_wait_go_first():
    held = Stream("a", 5.0, 10.0)
    text, again = names([held])
    assert text == "" and again == pytest.approx(HELD)
    assert names([held, Stream("b", -0.1, 10.0), Stream("c", SOON / 2, 10.0)]) == ("bc", None)


def test_nobody_is_held_back_for_long():
    assert names([Stream("a", 5.0, 10.0 - HELD)]) == ("a", None)
    text, again = names([Stream("a", 5.0, 10.0 - HELD / 2), Stream("b", 5.0, 10.0)])
    assert text == "" and again == pytest.approx(HELD / 2)


def test_whoever_is_about_to_run_out_is_not_forgotten():
    text, again = names([Stream("a", SOON + 0.02, 10.0), Stream("b", 5.0, 10.0)])
    assert text == "" and again == pytest.approx(0.02)


READY = st.lists(st.builds(Stream, st.just("a"), st.floats(-1, 3), st.floats(9.5, 10)), max_size=30)


@given(READY, st.booleans(), st.integers(1, 16))
def test_who_goes_and_who_waits(ready, waits, most):
    found = choose(ready, 10.0, 24000, most, somebody_waits=waits)
    urgent = [each for each in ready if not waits or each.in_hand <= SOON or 10.0 - each.since >= HELD]
    assert len(found.streams) <= most and (found.again is None or found.again > 0)
    assert len([each for each in found.streams if each in urgent]) >= min(most, len(urgent))
    if found.again is not None:  # then somebody's time has come
        later = [each._replace(in_hand=each.in_hand - found.again) for each in ready]
        assert choose(later, 10.0 + found.again + 1e-9, 24000, most, somebody_waits=waits).streams
    assert bool(found.streams) == bool(urgent) and (found.again is None) == (bool(urgent) or not ready)


def test_some_who_have_waited_a_while_come_along():
    first = Stream("!", -0.1, 10.0)
    assert names([first, Stream("a", 5.0, 10.0 - RIDES), Stream("b", 5.0, 10.0)])[0] == "!a"
    many = [Stream("a", 5.0, 10.0 - RIDES - i / 1000) for i in range(20)]
    assert len(names([first, *many])[0]) == ALONG
    assert len(names([first, *many], most=4)[0]) == 4
    assert names([first] * ALONG + many)[0] == "!" * ALONG
