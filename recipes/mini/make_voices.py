"""Make the voices included in the model, each from a short prompt of one synthetic speaker with known phonemes.

    python make_voices.py --suggest SPEAKER --corpus DIR ... [--texts metadata.tsv] [--count 10]
    python make_voices.py --model src/mamtra/assets/mini --corpus DIR ... [--list voices.yaml] [--only NAME ...] [--keep-tokens]
        [--campplus FILE]

The corpus is the training corpus (corpus.py). voices.yaml names for each voice its speaker, its phonemes and the utterance's
id (the bulk voice's ids change with its texts, so it has none). Phonemes that
differ from those of the utterance are refused. --suggest ranks utterances as prompts. --keep-tokens is for a model with another
flow, vocoder or speaker encoder: voices that are there keep what the language model reads of them. With --campplus the embeddings
are those of the published CAM++ (speaker_targets.py), with which the flow was trained, and which the model's own encoder imitates.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
import yaml
from campplus import load_published
from corpus import TOKEN_24, Row, finished, read_index
from pydantic import BaseModel, ConfigDict

from mamtra.audio.trim import trim_edges
from mamtra.synthesis.cloning import clone_voice
from mamtra.synthesis.model import Model
from mamtra.voices.voice import Voice

RATE = 24000
SHORTEST, LONGEST = 3.0, 5.0  # seconds
CONSENT = "synthetic voice, no real person"
DRILLS = {"figures", "phrases", "rare_words"}  # sources without natural sentences


class Published(Model):
    """A model with the published CAM++ in place of its own speaker encoder.

    Args:
        directory: of the model.
        weights: see `load_published`.
    """

    def __init__(self, directory: Path, weights: Path) -> None:
        super().__init__(directory)
        self._published = load_published(weights)

    @property
    def speaker_encoder(self) -> torch.nn.Module:
        """Filter banks to a speaker embedding."""
        return self._published


class Wanted(BaseModel):
    """One entry of voices.yaml. The prompt is the speaker's utterance with these phonemes, and, where given, this id.

    With `continued: false` the LM does not continue the prompt; only the flow uses it. `pitch_range` widens what the flow narrows,
    around the mean of the speaker's pitch in the corpus.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    speaker: str
    utterance: str | None = None
    phonemes: str
    continued: bool = True
    pitch_range: float = 1.0
    gender: str
    language: str = "en-US"
    description: str
    source: str
    licence: str = "Apache-2.0"
    consent: str = CONSENT


def read_list(path: Path) -> list[Wanted]:
    wanted = [Wanted(**entry) for entry in yaml.safe_load(path.read_text(encoding="utf-8"))]
    names = [w.name for w in wanted]
    if len(set(names)) < len(names):
        raise SystemExit(f"{path} names a voice twice")
    return wanted


def utterances(folders: Sequence[Path], speakers: set[str]) -> Iterator[tuple[Path, Row]]:
    """Shard and row of every utterance of the speakers; `row.start` counts from the beginning of the shard."""
    shards = finished(folders)
    if not shards:
        raise SystemExit(f"no finished corpus shards under {', '.join(map(str, folders))}")
    for shard in shards:
        yield from ((shard, row) for row in read_index([shard]) if row.speaker in speakers)


def sound(shard: Path, row: Row) -> np.ndarray:
    """float32 (T,) at 24 kHz."""
    flat = np.memmap(shard / "audio24.i16", "<i2", "r")
    return flat[row.start * TOKEN_24 : (row.start + row.tokens) * TOKEN_24].astype(np.float32) / 32767


def pitch(shard: Path, row: Row) -> np.ndarray:
    """Voiced pitch values in Hz."""
    flat = np.memmap(shard / "f0.f16", "<f2", "r")
    values = flat[row.start * 2 : (row.start + row.tokens) * 2].astype(np.float32)
    return values[values > 0]


def find(wanted: Wanted, folders: Sequence[Path]) -> np.ndarray:
    """The audio of a voice's prompt; refused if its phonemes in the corpus differ from those in the list."""
    for shard, row in utterances(folders, {wanted.speaker}):
        if wanted.utterance not in (None, row.id):
            continue
        if row.phonemes == wanted.phonemes:
            return sound(shard, row)
        if wanted.utterance:
            raise SystemExit(f"{wanted.name}: {row.id} says {row.phonemes}, the list {wanted.phonemes}")
    raise SystemExit(
        f"{wanted.name}: {wanted.speaker} says nowhere in the corpus {wanted.utterance or wanted.phonemes}"
    )


def middle_pitch(folders: Sequence[Path], speaker: str) -> float:
    """Geometric mean in Hz of the voiced pitch of a speaker's first 200 utterances."""
    first = itertools.islice(utterances(folders, {speaker}), 200)
    return round(float(np.exp(np.log(np.concatenate([pitch(*found) for found in first])).mean())), 1)


def make_voice(model: Model, wanted: Wanted, wave: np.ndarray, **about: float) -> Voice:
    """Clone from audio (T,) at 24 kHz, with more facts; text ids, where the LM needs them, come from the phonemes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompt.wav"
        soundfile.write(path, wave, RATE, subtype="PCM_16")
        about |= wanted.model_dump(exclude={"speaker", "utterance", "phonemes", "continued"})
        voice = clone_voice(path, model, None, **about)
    if not wanted.continued:
        return dataclasses.replace(voice, advice=())
    ids = model.text.tokenizer.encode(wanted.phonemes)
    return dataclasses.replace(voice, prompt_text=torch.tensor(ids, dtype=torch.int64), advice=())


def with_tokens_of(voice: Voice, earlier: Voice) -> Voice:
    """The voice with the text and speech tokens of one that was made of the same prompt."""
    if len(voice.prompt_speech) != len(earlier.prompt_speech):
        raise SystemExit(f"{voice.name} was made of a prompt of {earlier.seconds:.2f} s, not of {voice.seconds:.2f} s")
    return dataclasses.replace(voice, prompt_text=earlier.prompt_text, prompt_speech=earlier.prompt_speech)


def flaws(row: Row, wave: np.ndarray, hertz: np.ndarray, usual_rate: float, usual_pitch: float) -> float:
    """How far an utterance is from a good prompt; 0 is best. Each term is about 1 where it becomes audible.

    A good prompt has the speaker's usual speed and pitch, no long pause, silent gaps, no clipping, and lasts about four seconds.
    """
    hop = RATE // 100
    body = trim_edges(wave, RATE, keep=0.0)
    power = np.square(body[: len(body) // hop * hop].reshape(-1, hop)).mean(1) + 1e-10
    quiet = power < power.max() * 10 ** (-35 / 10)
    longest = max((len(run) for run in "".join("q" if q else " " for q in quiet).split()), default=0)
    snr = 10 * np.log10(np.percentile(power, 95) / np.percentile(power, 2))
    rate = len(row.phonemes) / (len(body) / RATE)
    tone = np.median(hertz) if len(hertz) else usual_pitch
    return float(
        abs(np.log(rate / usual_rate)) / 0.15
        + abs(np.log2(tone / usual_pitch)) / 0.1
        + max(0.0, longest / 100 - 0.15) / 0.1
        + max(0.0, 40 - snr) / 10
        + 5 * (np.abs(wave).max() > 0.985)
        + abs(row.tokens / 25 - 4.0) / 1.0
    )


def complete(row: Row, text: str | None) -> bool:
    """Whether an utterance is a complete plain statement, judged by its phonemes and, where known, its text."""
    if not row.phonemes.endswith(".") or set(row.phonemes) & set('“”"()—…;:!?'):
        return False
    if text is None:
        return True
    letters = text.replace("'", "").replace(",", "").replace(" ", "").removesuffix(".")
    return text[:1].isupper() and not text.isupper() and text.endswith(".") and letters.isalpha()


def suggest(
    folders: Sequence[Path], speaker: str, texts: dict[tuple[str, str], str], count: int
) -> list[tuple[float, Row, str]]:
    """The best prompts of a speaker: (flaws, row, text where known), best first."""
    rows = list(utterances(folders, {speaker}))
    if not rows:
        raise SystemExit(f"the corpus has no speaker {speaker}")
    usual_rate = float(np.median([len(row.phonemes) / (row.tokens / 25) for _, row in rows]))
    usual_pitch = float(np.median(np.concatenate([pitch(*found) for found in rows[:200]] or [[150.0]])))
    ranked = []
    for shard, row in rows:
        text = texts.get((speaker, row.id))
        if SHORTEST <= row.tokens / 25 <= LONGEST and row.source not in DRILLS and complete(row, text):
            score = flaws(row, sound(shard, row), pitch(shard, row), usual_rate, usual_pitch)
            ranked.append((score, row, text or ""))
    return sorted(ranked, key=lambda found: (found[0], found[1].id))[:count]


def read_texts(path: Path | None) -> dict[tuple[str, str], str]:
    """Text by speaker and utterance, from a metadata.tsv like import_audio.py's."""
    if path is None:
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {(row.get("voice") or row["speaker"], Path(row["path"]).stem): row["text"] for row in rows}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--model", type=Path, help="model directory; the voices go to its folder voices/")
    parser.add_argument("--list", type=Path, default=Path(__file__).with_name("voices.yaml"))
    parser.add_argument("--only", nargs="*", default=[], help="names of voices; all where left out")
    parser.add_argument("--keep-tokens", action="store_true", help="of the voices that are there")
    parser.add_argument("--campplus", type=Path, metavar="FILE", help="weights of the published CAM++")
    parser.add_argument("--suggest", metavar="SPEAKER", help="rank utterances of a speaker instead")
    parser.add_argument("--texts", type=Path, help="metadata.tsv with the texts, for --suggest")
    parser.add_argument("--count", type=int, default=10)
    args = parser.parse_args(argv)
    if args.suggest:
        for score, row, text in suggest(args.corpus, args.suggest, read_texts(args.texts), args.count):
            print(f"{score:6.2f}  {row.id}  {row.tokens / 25:.2f} s  {row.phonemes}  {text}")
        return
    if args.model is None:
        parser.error("give --model, or --suggest SPEAKER")
    wanted = [w for w in read_list(args.list) if not args.only or w.name in args.only]
    if not wanted:
        raise SystemExit(f"{args.list} has none of the voices {', '.join(args.only)}")
    model = Model(args.model) if args.campplus is None else Published(args.model, args.campplus)
    folder = args.model / "voices"
    folder.mkdir(exist_ok=True)
    for one in wanted:
        about = {"pitch": middle_pitch(args.corpus, one.speaker)} if one.pitch_range != 1 else {}
        voice, path = make_voice(model, one, find(one, args.corpus), **about), folder / f"{one.name}.safetensors"
        if args.keep_tokens:
            voice = with_tokens_of(voice, Voice.load(path))
        voice.save(path)
        print(
            f"{path.name}: {one.gender}, {voice.seconds:.2f} s, {path.stat().st_size / 1024:.0f} KiB, {one.description}"
        )


if __name__ == "__main__":
    main()
