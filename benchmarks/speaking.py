"""Making the sound that is judged: a model speaks a list, or says recorded sound again from its speech tokens. Resumable."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamtra import TTS, MamTraError
from mamtra.audio.io import write_audio
from mamtra.evaluate.systems import resynthesise_file
from mamtra.runtime.files import hash_files
from mamtra.synthesis.fingerprint import hash_parts, hash_voice
from mamtra.voices.voice import Voice

MADE = "made.jsonl"


@dataclass(frozen=True)
class Sentence:
    """One line of a test list: what is given to the model, and what a careful reader says."""

    id: str
    category: str
    text: str
    spoken: str


def read_set(path: Path, ids: Sequence[str] = (), limit: int | None = None) -> list[Sentence]:
    """A TSV file with the columns id, category, text, spoken."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    lacking = {"id", "category", "text", "spoken"} - set(rows[0] if rows else ())
    if lacking:
        raise SystemExit(f"{path} has no column {', '.join(sorted(lacking))}")
    found = [Sentence(row["id"], row["category"], row["text"], row["spoken"]) for row in rows]
    unknown = set(ids) - {sentence.id for sentence in found}
    if unknown:
        raise SystemExit(f"{path} has no line {', '.join(sorted(unknown))}")
    return [sentence for sentence in found if not ids or sentence.id in ids][:limit]


def read_made(folder: Path) -> dict[str, dict[str, Any]]:
    """Records of the sounds in a folder, by id."""
    path = folder / MADE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {item["id"]: item for item in map(json.loads, lines)}


def fingerprint(tts: TTS, voice: Voice) -> str:
    """Digest of the weights, settings and prompt that decide how a voice of a model sounds."""
    digest = hashlib.sha256()
    parts = [hash_parts(tts.model), tts.model.config, tts.model.generation.model_dump(), hash_voice(voice)]
    digest.update(json.dumps(parts, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def make(
    folder: Path,
    sentences: Sequence[Sentence],
    key: Callable[[Sentence], str],
    produce: Callable[[Sentence], dict[str, Any]],
) -> Iterator[Sentence]:
    """Has `produce` write FOLDER/ID.wav for each sentence whose `key` (digest of its inputs) is not on record yet."""
    folder.mkdir(parents=True, exist_ok=True)
    made = read_made(folder)
    with (folder / MADE).open("a", encoding="utf-8") as file:
        for sentence in sentences:
            inputs = hashlib.sha256(key(sentence).encode()).hexdigest()[:16]
            path = folder / f"{sentence.id}.wav"
            old = made.get(sentence.id, {})
            if old.get("inputs") != inputs or not (path.exists() or "error" in old):
                path.unlink(missing_ok=True)  # a failure must not leave the sound of an earlier run
                file.write(json.dumps({"id": sentence.id, "inputs": inputs, **produce(sentence)}) + "\n")
                file.flush()
            yield sentence


def speak(tts: TTS, voice: Voice, folder: Path, sentences: Sequence[Sentence], seed: int) -> Iterator[Sentence]:
    """Speaks the list with the public API."""
    mark = fingerprint(tts, voice)

    def key(sentence: Sentence) -> str:
        """The ids that the model reads are part of it, so that a changed text front end speaks anew."""
        try:
            return f"{mark} {seed} {[segment.ids for segment in tts.model.text.segments(sentence.text)]}"
        except MamTraError:
            return f"{mark} {seed} {sentence.text}"

    def produce(sentence: Sentence) -> dict[str, Any]:
        try:
            audio = tts.say(sentence.text, voice, seed=seed)
        except MamTraError as error:
            return {"error": str(error)}
        audio.save(folder / f"{sentence.id}.wav")
        return {
            "seconds": audio.seconds,
            "computing": audio.rtf * audio.seconds,
            "tokens": audio.tokens,
            "finish_reason": audio.finish_reason,
        }

    return make(folder, sentences, key, produce)


def resynthesise(
    tts: TTS, voice: Voice, source: Path, folder: Path, sentences: Sequence[Sentence], seed: int
) -> Iterator[Sentence]:
    """Recordings to speech tokens and back through flow and vocoder: what the LM could reach at best in this voice."""
    mark = fingerprint(tts, voice)

    def digest(sentence: Sentence) -> str:
        path = source / f"{sentence.id}.wav"
        return f"{mark} {seed} " + (hash_files(path) if path.is_file() else "")

    def produce(sentence: Sentence) -> dict[str, Any]:
        path = source / f"{sentence.id}.wav"
        if not path.is_file():
            return {"error": "no recording"}
        samples, tokens = resynthesise_file(tts, voice, path, seed)
        write_audio(folder / f"{sentence.id}.wav", samples, tts.sample_rate)
        return {"seconds": len(samples) / tts.sample_rate, "tokens": tokens}

    return make(folder, sentences, digest, produce)
