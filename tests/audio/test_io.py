import io
import os

import numpy as np
import pytest
import soundfile

from mamtra.audio.decode import TooLong
from mamtra.audio.formats import FORMATS, StreamEncoder, available_formats, encode
from mamtra.audio.io import SUFFIXES, decode_audio, format_of, read_audio, resample, write_audio
from mamtra.audio.resample_stream import ResampleStream
from mamtra.errors import MamTraError


def tone(seconds: float = 1.0, rate: int = 24000, hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def loudest_hz(samples: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples))


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".opus", ".ogg", ".mp3"])
def test_written_files_read_back_as_the_same_sound(tmp_path, suffix):
    path = tmp_path / f"tone{suffix}"
    write_audio(path, tone(), 24000)
    samples, rate = read_audio(path, 24000)
    assert rate == 24000
    assert abs(len(samples) - 24000) <= 2400
    assert abs(loudest_hz(samples, rate) - 440) < 5
    assert 0.3 < np.sqrt(np.mean(samples[4000:20000] ** 2)) < 0.4


def test_lossless_formats_keep_sixteen_bits(tmp_path):
    for name in ("a.wav", "a.flac"):
        write_audio(tmp_path / name, tone(), 24000)
        assert np.abs(read_audio(tmp_path / name)[0] - tone()).max() < 1 / 32767


def test_pcm_is_little_endian_sixteen_bit():
    assert encode(np.array([0.0, 1.0, -1.0, 2.0]), 24000, "pcm") == b"\x00\x00\xff\x7f\x01\x80\xff\x7f"


def test_aac_is_written_with_pyav_and_refused_without(tmp_path):
    if available_formats()["aac"]:
        write_audio(tmp_path / "tone.aac", tone(), 24000)
        import av

        with av.open(str(tmp_path / "tone.aac")) as container:
            samples = sum(frame.samples for frame in container.decode(audio=0))
        assert abs(samples - 24000) < 4000
    else:
        with pytest.raises(MamTraError, match=r"pip install 'mamtra\[formats\]'"):
            encode(tone(), 24000, "aac")


@pytest.mark.parametrize("fmt", [f for f in FORMATS if f != "aac"])
def test_stream_of_chunks_is_playable_before_its_end(fmt):
    encoder = StreamEncoder(24000, fmt)
    parts = [encoder.write(chunk) for chunk in np.array_split(tone(4.0), 8)]
    assert sum(map(len, parts[:6])) > 0
    stream = b"".join([*parts, encoder.close()])
    if fmt == "pcm":
        assert len(stream) == 2 * 4 * 24000
        return
    if fmt == "flac":  # libsndfile itself does not read a flac of unknown length; only the length in the header differs
        assert stream[42:] == encoder.whole()[42:]
        stream = encoder.whole()
    with soundfile.SoundFile(io.BytesIO(stream)) as file:
        rate, samples = file.samplerate, file.read(5 * file.samplerate)
    assert abs(loudest_hz(samples[: 2 * rate], rate) - 440) < 5
    assert 3.5 < len(samples) / rate < 4.5


def test_resampling_keeps_pitch_and_length():
    out = resample(tone(), 24000, 16000)
    assert len(out) == 16000 and out.dtype == np.float32
    assert abs(loudest_hz(out, 16000) - 440) < 2


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "two.wav", np.stack([tone(), -tone() / 2], axis=1), 24000)
    assert np.abs(read_audio(tmp_path / "two.wav")[0] - tone() / 4).max() < 1 / 32767


def test_channels_that_cancel_each_other_leave_the_first(tmp_path):
    soundfile.write(tmp_path / "two.wav", np.stack([tone(), -0.99 * tone()], axis=1), 24000)
    assert np.abs(read_audio(tmp_path / "two.wav")[0] - tone()).max() < 1 / 32767


def test_an_address_is_no_file():
    with pytest.raises(MamTraError, match="is an address; download the sound first"):
        read_audio("https://example.org/voice.wav")


def test_unreadable_sources_are_one_sentence(tmp_path):
    (tmp_path / "text.wav").write_text("this is no sound")
    (tmp_path / "empty.wav").write_bytes(encode(np.zeros(0), 24000, "wav"))
    soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan], np.float32), 16000, subtype="FLOAT")
    for name, words in [
        ("text.wav", "cannot be read"),
        ("empty.wav", "holds no sound"),
        ("nan.wav", "not numbers"),
        ("gone.wav", "no sound file"),
        (".", "is a folder"),
    ]:
        with pytest.raises(MamTraError, match=words):
            read_audio(tmp_path / name)


def test_samples_that_are_not_numbers_are_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(MamTraError, match="not numbers"):
        write_audio(tmp_path / "a.wav", np.array([np.nan]), 24000)
    assert list(tmp_path.iterdir()) == []


def test_impossible_destinations(tmp_path):
    for path, words in [
        (tmp_path, "is a folder|names no sound format"),
        (tmp_path / "gone" / "a.wav", "does not exist"),
        (tmp_path / "a.xyz", "names no sound format"),
        (tmp_path / "plain", "has no suffix"),
    ]:
        with pytest.raises(MamTraError, match=words):
            write_audio(path, tone(), 24000)


def test_read_only_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(MamTraError, match="read-only"):
        write_audio(tmp_path / "a.wav", tone(), 24000)


def test_format_by_suffix_and_by_name():
    assert {format_of("x" + suffix.upper()) for suffix in SUFFIXES} == set(FORMATS)
    assert format_of("-") == "wav" and format_of("-", "MP3") == "mp3" and format_of("x", ".flac") == "flac"
    with pytest.raises(MamTraError, match="unknown"):
        format_of("x.wav", "midi")
    with pytest.raises(MamTraError, match=r"does not go with x\.wav"):
        format_of("x.wav", "ogg")


def test_raw_samples_and_pipes_are_refused(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(1000))
    with pytest.raises(MamTraError, match="without a header; convert it to wav"):
        read_audio(tmp_path / "a.raw")
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(MamTraError, match="pipe or a device"):
        read_audio(tmp_path / "pipe.wav")


@pytest.mark.parametrize("frames", [2**31, 2**36 - 1])
def test_a_flac_header_that_claims_hours_is_refused_before_decoding(tmp_path, frames):
    path = tmp_path / "a.flac"
    write_audio(path, tone(), 24000)
    data = bytearray(path.read_bytes())
    data[21] = data[21] & 0xF0 | frames >> 32  # total samples: 36 bits of STREAMINFO
    data[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(MamTraError, match="longer than 3600 s"):
        read_audio(path)


def test_streams_without_a_length(tmp_path):
    for fmt in ("wav", "flac"):
        encoder = StreamEncoder(24000, fmt)
        (tmp_path / f"a.{fmt}").write_bytes(encoder.write(tone()) + encoder.close())
    assert len(read_audio(tmp_path / "a.wav")[0]) == 24000
    with pytest.raises(MamTraError, match="does not say how long it is"):
        read_audio(tmp_path / "a.flac")


def test_long_files_and_odd_headers_are_refused(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(48000, np.float32), 24000)
    assert len(read_audio(path, max_seconds=2)[0]) == 48000
    with pytest.raises(MamTraError, match=r"longer than 1\.5 s; cut it"):
        read_audio(path, max_seconds=1.5)
    soundfile.write(path, np.zeros((10, 65), np.float32), 24000)
    with pytest.raises(MamTraError, match="65 channels"):
        read_audio(path)
    for rate in (8, 2**31 - 1):
        soundfile.write(path, np.zeros(10, np.float32), rate, subtype="FLOAT")
        with pytest.raises(MamTraError, match=f"sample rate of {rate} Hz"):
            read_audio(path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("value", "words"), [(1e30, "far outside -1 to 1"), (np.nan, "not numbers"), (np.inf, "not num")]
)
def test_impossible_samples_are_refused_without_warnings(tmp_path, value, words):
    samples = np.stack([tone(), tone()], axis=1)
    samples[100] = value
    soundfile.write(tmp_path / "a.wav", samples, 24000, subtype="FLOAT")
    with pytest.raises(MamTraError, match=words):
        read_audio(tmp_path / "a.wav", 16000)


def test_blocks_are_the_whole(tmp_path, monkeypatch):
    samples = np.random.default_rng(0).uniform(-1, 1, (5000, 3)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 24000, subtype="FLOAT")
    monkeypatch.setattr("mamtra.audio.decode._BLOCK", 3 * 700)
    assert np.array_equal(read_audio(tmp_path / "a.wav")[0], samples.mean(axis=1))


CONTAINERS = [
    (".m4a", "aac"), (".mp4", "aac"), (".mov", "aac"), (".3gp", "aac"), (".aac", "aac"), (".webm", "libopus"),
    (".mkv", "libopus"), (".mka", "aac"), (".m4a", "alac"), (".wma", "wmav2"), (".wav", "aac"), (".mp3", "libopus"),
    (".ogg", "libvorbis"), (".opus", "libopus"), (".flac", "flac"), (".mp3", "libmp3lame"), (".wav", "pcm_s16le"),
]  # fmt: skip
MUXERS = {("aac", ".aac"): "adts", ("aac", ".wav"): "mp4", ("libopus", ".mp3"): "webm", ("wmav2", ".wma"): "asf"}


@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS)
def test_containers_are_read_by_their_content(tmp_path, suffix, codec):
    av = pytest.importorskip("av")
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    path = tmp_path / f"tone{suffix}"
    form = MUXERS.get((codec, suffix), "matroska" if suffix in (".mkv", ".mka") else None)
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=48000, layout="stereo", bit_rate=96_000)
        kind = stream.codec_context.codec.audio_formats[0]
        wave = np.tile(tone(rate=48000), (2, 1))
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
        frame.sample_rate = 48000
        resampler = av.AudioResampler(kind, "stereo", 48000, stream.codec_context.frame_size or 960)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    samples, rate = read_audio(path, 24000)
    assert rate == 24000 and abs(len(samples) - 24000) < 4000
    assert abs(loudest_hz(samples, rate) - 440) < 5
    content, _ = decode_audio(path.read_bytes(), "a recording", 24000)
    assert np.array_equal(content, samples)
    with pytest.raises(TooLong, match=r"longer than 0\.5 s"):
        read_audio(path, max_seconds=0.5)


def test_containers_that_cannot_be_read(tmp_path, monkeypatch):
    path = tmp_path / "a.m4a"
    path.write_bytes(b"no sound at all" * 100)
    with pytest.raises(MamTraError, match="cannot be read as a sound file"):
        read_audio(path)
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(1000))
    if available_formats()["aac"]:
        with pytest.raises(MamTraError, match="cannot be read as a sound file"):
            read_audio(path)
    monkeypatch.setattr("mamtra.audio.decode.find_spec", lambda name: None)
    with pytest.raises(MamTraError, match=r"Reading .*a\.m4a needs PyAV.*mamtra\[formats\]"):
        read_audio(path)


def test_playlists_open_nothing(tmp_path):
    write_audio(tmp_path / "secret.aac" if available_formats()["aac"] else tmp_path / "secret.wav", tone(), 24000)
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.aac\n#EXT-X-ENDLIST\n"
    for suffix in (".m4a", ".aac", ".webm", ".wav"):
        (tmp_path / f"list{suffix}").write_text(playlist)
        with pytest.raises(MamTraError, match="cannot be read as a sound file"):
            read_audio(tmp_path / f"list{suffix}")


def test_names_that_no_file_can_have(tmp_path):
    for name in ("x" * 5000, "a\0b.wav"):
        with pytest.raises(MamTraError, match="There is no sound file"):
            read_audio(tmp_path / name)


def test_the_number_of_samples_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("mamtra.audio.decode.MOST_SAMPLES", 10_000)
    write_audio(tmp_path / "a.wav", tone(), 24000)
    with pytest.raises(TooLong, match="too large at 24000 Hz"):
        read_audio(tmp_path / "a.wav")


def test_a_small_file_of_a_very_high_rate_is_bounded_too():
    """Silence of half of the seconds that it may last, and of more samples than those have at 192 kHz."""
    content = encode(np.zeros(655_350, np.float32), 655_350, "flac")
    assert len(content) < 10_000
    with pytest.raises(TooLong, match="too large at 655350 Hz"):
        decode_audio(content, "a.flac", max_seconds=2)


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_stream_holds_little_back(fmt):
    """Bytes of the first 0.8 s that are there at once, played by themselves."""
    av = pytest.importorskip("av")
    encoder = StreamEncoder(24000, fmt)
    with av.open(io.BytesIO(encoder.write(tone(0.8))), format="s16le" if fmt == "pcm" else None) as file:
        if fmt == "pcm":
            return
        seconds = sum(frame.samples / frame.sample_rate for frame in file.decode(audio=0))
    assert seconds > 0.5


@pytest.mark.parametrize("fmt", ["wav", "flac", "opus", "mp3"])
def test_a_comment_is_stored_and_changes_no_sample(fmt):
    encoder = StreamEncoder(24000, fmt, comment="by a machine")
    streamed = encoder.write(tone()) + encoder.close()
    plain, commented = encode(tone(), 24000, fmt), encode(tone(), 24000, fmt, comment="by a machine")
    assert b"by a machine" in streamed and b"by a machine" not in plain
    with soundfile.SoundFile(io.BytesIO(commented)) as file:
        assert file.comment == "by a machine"
        assert np.allclose(file.read(), soundfile.read(io.BytesIO(plain))[0], atol=1e-6)


def test_resampling_in_chunks_is_resampling_the_whole():
    stream, sound = ResampleStream(24000, 16000), tone(1.0)
    parts = [
        stream.push(sound[start : start + 3001], final=start + 3001 >= len(sound)) for start in range(0, 24000, 3001)
    ]
    assert np.abs(np.concatenate(parts) - resample(sound, 24000, 16000)).max() < 1e-3
    assert ResampleStream(24000, 24000).push(sound) is sound


@pytest.mark.parametrize("fmt", [name for name, able in available_formats().items() if able])
def test_equal_sound_gives_equal_bytes(fmt):
    def streamed() -> bytes:
        encoder = StreamEncoder(24000, fmt, comment="by a machine")
        return b"".join([*(encoder.write(chunk) for chunk in np.array_split(tone(2.0), 5)), encoder.close()])

    assert streamed() == streamed()
    assert encode(tone(), 24000, fmt) == encode(tone(), 24000, fmt)
    assert encode(tone(hz=300.0), 24000, fmt) != encode(tone(), 24000, fmt)
