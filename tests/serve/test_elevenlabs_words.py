"""ElevenLabs' names of formats and forms of times."""

import pytest

from mamtra.serve.elevenlabs_words import Alignment, http_alignment, parse_format
from mamtra.serve.errors import ApiError
from mamtra.synthesis.word_times import Word


def test_times_since_the_beginning_or_the_message_before():
    words = [Word("ab ", 0.0, 0.3), Word("c", 0.5, 1.0)]
    absolute, relative = Alignment(True), Alignment(False)
    for each in (absolute, relative):
        assert each.of([]) is None
        assert each.of(words[:1]) == {
            "chars": ["a", "b", " "],
            "charStartTimesMs": [0, 100, 200],
            "charDurationsMs": [100] * 3,
        }
    assert absolute.of(words[1:])["charStartTimesMs"] == [500]
    assert relative.of(words[1:])["charStartTimesMs"] == [200]
    assert http_alignment(words)["character_end_times_seconds"] == [0.1, 0.2, 0.3, 1.0]


def test_names_of_formats():
    assert parse_format("mp3_22050_32") == ("mp3", 22050)
    assert parse_format("pcm_16000") == ("pcm", 16000)
    for name in ("", "mp3", "pcm_x", "ogg_1_2", "pcm_99999999", "mp3_"):
        with pytest.raises(ApiError):
            parse_format(name)
