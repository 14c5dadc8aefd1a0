import csv
import itertools

import cut_recordings
import numpy as np
import pytest
from import_audio import read

from mamtra.audio.io import write_audio
from tests.factories import speech_like


def spoken(*seconds: float) -> np.ndarray:
    """Sounds of so many seconds with a quarter of a second of silence between them, at 24 kHz."""
    gap = np.zeros(6000, np.float32)
    return np.concatenate([part for length in seconds for part in (speech_like(length, 24000), gap)][:-1])


def test_recordings_are_cut_in_pauses_and_nothing_is_lost():
    wave = spoken(3, 5, 6, 5, 4.5)
    parts = cut_recordings.cuts(wave, 24000)
    assert parts[0].start == 0 and parts[-1].stop == len(wave)
    assert all(one.stop == other.start for one, other in itertools.pairwise(parts))
    seconds = [(part.stop - part.start) / 24000 for part in parts]
    assert all(4 <= length <= 12 for length in seconds[:-1]) and seconds[-1] <= 12
    assert all(not wave[part.stop - 240 : part.stop + 240].any() for part in parts[:-1])


def test_a_short_recording_is_one_part():
    assert cut_recordings.cuts(spoken(2), 24000) == [slice(0, 48000)]


def test_parts_are_what_import_audio_reads(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    write_audio(tmp_path / "in" / "7.wav", spoken(6, 8, 0.5), 24000)
    write_audio(tmp_path / "in" / "9-1-2.flac", speech_like(3, 16000), 16000)
    given = ["--recordings", str(tmp_path / "in"), "--source", "who", "--out", str(tmp_path / "out"), "--workers", "1"]
    monkeypatch.setattr("sys.argv", ["cut_recordings.py", *given])
    cut_recordings.main()
    with (tmp_path / "out" / "metadata.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["speaker"] for row in rows} == {"who-7", "who-9"}
    assert all(row["phonemes"] == "" for row in rows)
    waves = [read(tmp_path / "out" / row["path"], int(row["sample_rate"])) for row in rows]
    assert sum(map(len, waves)) / 24000 == pytest.approx(
        6 + 8 + 0.25 + 3, abs=0.8
    )  # of the last half second too little is left
    monkeypatch.setattr("sys.argv", ["cut_recordings.py", *given[:1], str(tmp_path / "out"), *given[2:]])
    with pytest.raises(SystemExit, match=r"no \.wav or \.flac"):
        cut_recordings.main()
