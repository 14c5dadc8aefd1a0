import numpy as np
from guards import guard, is_truncated, loops, silence_share

from tests.factories import speech_like


def test_loops_are_found_unless_the_text_has_them():
    song = "row row row your boat " * 3
    assert loops("and then he said " * 3, "and then he said so")
    assert not loops("and then he said " * 2, "and then he said so")
    assert not loops(song, song)
    assert loops(song * 2, song)


def test_what_is_cut_off():
    assert is_truncated("one two", "one two", "length")
    assert is_truncated("one", "one two three", "eos")
    assert not is_truncated("one two", "one two three four", "eos")
    assert not is_truncated("one", "one", None)


def test_silence_share():
    tone = np.sin(np.arange(24000) / 10).astype(np.float32)
    assert silence_share(tone, 24000) == 0.0
    assert silence_share(np.concatenate([tone, np.zeros(24000, np.float32)]), 24000) == 0.5
    assert silence_share(np.zeros(24000, np.float32), 24000) == 1.0
    assert silence_share(np.zeros(10, np.float32), 24000) == 1.0


def test_verdicts():
    samples = np.concatenate([speech_like(2.0, 24000), np.zeros(48000, np.float32)])
    good = guard({"hypothesis": "3 birds", "reference": "3 birds"}, "three birds", samples, 24000, "eos")
    assert not (good["empty"] or good["looping"] or good["truncated"])
    assert good["silence_share"] >= 0.5
    assert good["words_per_second"] == 2 / (4 * (1 - good["silence_share"])) >= 1
    gone = guard({"hypothesis": "", "reference": "3 birds"}, "three birds", None, 24000, None)
    assert gone["empty"] and not gone["truncated"]
    assert gone["silence_share"] == 1.0 and gone["words_per_second"] == 0.0
    endless = guard({"hypothesis": "", "reference": "3 birds"}, "three birds", samples, 24000, "length")
    assert endless["empty"] and endless["truncated"]
