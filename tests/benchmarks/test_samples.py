"""The page of samples: lines of students from files."""

import base64
import re
import shutil
from pathlib import Path

import pytest
import samples

from mamtra.audio.io import read_audio
from mamtra.evaluate.sets import BUILT_IN
from mamtra.runtime.templates import render

pytest.importorskip("matplotlib")


def test_a_line_has_the_sound_of_every_student(tmp_path):
    (tmp_path / "names.tsv").write_text("a\tthe <first>\nb\tthe second\n")
    (tmp_path / "lines.tsv").write_text("x\tWell done.\n")
    for name, number in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        shutil.copy(BUILT_IN["sample"].with_name(f"s{number}.ogg"), tmp_path / name / "x.ogg")

    ((text, clips),) = samples.students(tmp_path)
    assert text == "Well done."
    assert [clip["name"] for clip in clips] == ["the <first>", "the second"]

    page = render(Path(samples.__file__).with_suffix(".html.j2"), sections=[("Students", text, clips)], made="made")
    assert "the &lt;first&gt;" in page
    sounds = [base64.b64decode(found) for found in re.findall(r"data:audio/ogg;base64,([^\"]+)", page)]
    assert len(sounds) == 2
    for number, sound in enumerate(sounds, 1):
        path = tmp_path / "sound.ogg"
        path.write_bytes(sound)
        want, _ = read_audio(BUILT_IN["sample"].with_name(f"s{number}.ogg"), 24000)
        assert abs(len(read_audio(path, 24000)[0]) - len(want)) < 240
