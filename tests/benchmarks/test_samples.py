"""The page of samples."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest
import samples

from mamtra.audio.io import read_audio
from mamtra.runtime.templates import render
from mamtra.tts import Audio

pytest.importorskip("matplotlib")


def test_every_clip_of_every_section_can_be_played(tmp_path):
    sounds = [
        Audio(np.full(24000 * seconds, 0.1, np.float32), 24000, "Well done.", 0, "ann", 25 * seconds, "eos", 0.1, 100.0)
        for seconds in (1, 2)
    ]
    sections = {"Voices": [samples.clip("<ann>", sounds[0], "about ann")], "Clones": [samples.clip("bob", sounds[1])]}
    page = render(Path(samples.__file__).with_suffix(".html.j2"), text="Well done.", sections=sections, made="made")
    assert "&lt;ann&gt;" in page and "about ann" in page and "Well done." in page and str(tmp_path) not in page
    found = [base64.b64decode(each) for each in re.findall(r'data:audio/ogg;base64,([^"]+)', page)]
    for seconds, sound in zip((1, 2), found, strict=True):
        (tmp_path / "sound.ogg").write_bytes(sound)
        assert abs(len(read_audio(tmp_path / "sound.ogg", 24000)[0]) - 24000 * seconds) < 480
