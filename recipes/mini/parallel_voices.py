"""The same speech in many voices: pairs that teach the flow to take the speaker from the embedding and not from the speech tokens.

    python parallel_voices.py --kokoro DIR --text FILE.txt --model src/mamtra/assets/mini --out DIR
        [--sentences 1000] [--symbols 40 130] [--voices 5] [--named NAME ...] [--seed N] [--workers N]

DIR is that of `mix_voices.py`. Half of a voice vector of Kokoro is the timbre and half the prosody. A sentence is said by the voice
behind the bulk speech, and again with the timbre of others. Length, rhythm and intonation stay as they are, and the pitch is moved
to that of the other voice, by an input that is added to the model, so that the speech tokens of the first fit all of them. Written
are audio files with a metadata.tsv for `import_audio.py --whole`; what is there is kept when it is run again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from change_voices import MARK
from corpus import TOKEN_24, edges
from mix_voices import BETWEEN, BEYOND, LEAST, MOST, RATE, read_voices

from mamtra.audio.io import write_audio
from mamtra.runtime.files import write_text
from mamtra.text.frontend import TextFrontend

FIRST = "af_heart"
"""The voice behind the bulk speech, whose prosody all have."""
TIMBRE = 128
"""Values of a voice vector that are the timbre; the others are the prosody."""
PITCH, TRACK = "pitch", "/encoder/F0_proj/Conv_output_0"
"""The input that is added to the model, and what it multiplies: F0 in Hz, near 0 where unvoiced."""
VOICED = 40.0
PEAK = 0.97
NAMED, MIXED = 0.5, 0.3
"""Fraction of the other voices that are among those named; of the rest, that are mixtures."""
SPREAD = 0.03
"""Standard deviation of the pitch around that of the voice, natural logarithm."""
MEASURED = "ðə lˈIbɹˌɛɹi ˈOpənz æt nˈIn, ænd ðə ɡˈɑɹdᵊn bəhˈInd ɪt stˈAz ˈOpən."
"""Said by every voice to measure its pitch."""
COLUMNS = ("path", "id", "voice", "phonemes")


class Timbre(NamedTuple):
    """A voice other than the first: its name, its vectors (510, 128), and its pitch in Hz."""

    name: str
    vectors: np.ndarray
    pitch: float


class Sentence(NamedTuple):
    """A sentence, its name, and the voices that say it after the first."""

    name: str
    phonemes: str
    timbres: Sequence[Timbre]


class Kokoro:
    """Kokoro with a factor on its pitch, in one thread.

    Args:
        folder: with model.onnx, vocab.json and voices/*.bin.
    """

    def __init__(self, folder: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        model = with_pitch(folder / "model.onnx")
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]

    def __call__(self, phonemes: str, vectors: np.ndarray, factor: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Samples (T,) at 24 kHz, and the pitch in Hz of the voiced frames, from voice vectors (510, 256)."""
        ids = [self._vocabulary[symbol] for symbol in phonemes if symbol in self._vocabulary]
        given = {
            "tokens": np.array([[0, *ids, 0]]),
            "style": vectors[len(ids)][None],
            "speed": np.ones(1, np.float32),
            PITCH: np.array([factor], np.float32),
        }
        samples, track = (np.ravel(found) for found in self._session.run(None, given))
        return samples, track[track > VOICED]


def with_pitch(path: Path) -> bytes:
    """The ONNX model with the input `PITCH` (1,), and the pitch among its outputs."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    place, node = next((i, node) for i, node in enumerate(graph.node) if TRACK in node.output)
    node.output[list(node.output).index(TRACK)] = own = f"{TRACK}_own"
    graph.node.insert(place + 1, onnx.helper.make_node("Mul", [own, PITCH], [TRACK]))
    graph.input.append(onnx.helper.make_tensor_value_info(PITCH, onnx.TensorProto.FLOAT, [1]))
    graph.output.append(onnx.helper.make_tensor_value_info(TRACK, onnx.TensorProto.FLOAT, None))
    return model.SerializeToString()


def mixture(name: str, timbres: Sequence[Timbre], rng: np.random.Generator) -> Timbre:
    """A voice on the line through two of the same sex, between them or beyond one of them."""
    one = timbres[rng.integers(len(timbres))]
    alike = [other for other in timbres if other.name[1] == one.name[1] and other.name != one.name]
    other = alike[rng.integers(len(alike))]
    place = rng.uniform(*(BEYOND if rng.random() < 0.5 else BETWEEN))
    vectors = one.vectors + np.float32(place) * (other.vectors - one.vectors)
    return Timbre(name, vectors, one.pitch * (other.pitch / one.pitch) ** place)


def cast(sentence: str, timbres: Sequence[Timbre], named: set[str], count: int) -> list[Timbre]:
    """So many other voices for a sentence of this name."""
    rng = generator(sentence)
    chosen = [one for one in timbres if one.name in named]
    found: dict[str, Timbre] = {}
    while len(found) < count:
        if chosen and rng.random() < NAMED:
            one = chosen[rng.integers(len(chosen))]
        elif rng.random() < MIXED:
            one = mixture(f"mixture-{sentence}-{len(found)}", timbres, rng)
        else:
            one = timbres[rng.integers(len(timbres))]
        found[one.name] = one
    return list(found.values())


def generator(sentence: str) -> np.random.Generator:
    """Of what is random for a sentence of this name."""
    return np.random.default_rng(zlib.crc32(sentence.encode()))


def start(folder: Path, first: np.ndarray, out: Path) -> None:
    """Load what a worker process needs."""
    global engine, prosody, place
    engine, prosody, place = Kokoro(folder), first, out


def measure(vectors: np.ndarray) -> float:
    """Pitch of a voice (510, 256), Hz."""
    return float(np.median(engine(MEASURED, vectors)[1]))


def speak(sentence: Sentence) -> list[dict[str, str]]:
    """Write a sentence in all its voices, unless it is there; return their rows."""
    name = sentence.name
    rows = [{"path": f"{FIRST}/{name}.opus", "id": name, "voice": FIRST}]
    rows += [
        {"path": f"{one.name}/{name}.opus", "id": f"{one.name}{MARK}{FIRST}/{name}", "voice": one.name}
        for one in sentence.timbres
    ]
    if not all((place / row["path"]).exists() for row in rows):
        first, pitch = engine(sentence.phonemes, prosody)
        body, rng = edges(first), generator(name)
        _write(place / rows[0]["path"], first[body])
        for row, one in zip(rows[1:], sentence.timbres, strict=True):
            vectors = np.concatenate([one.vectors, prosody[:, TIMBRE:]], axis=1)
            factor = one.pitch / float(np.median(pitch)) * float(np.exp(SPREAD * rng.standard_normal()))
            _write(place / row["path"], engine(sentence.phonemes, vectors, factor)[0][body])
    return [row | {"phonemes": sentence.phonemes} for row in rows]


def _write(file: Path, samples: np.ndarray) -> None:
    """Samples (T,), and silence up to a whole number of speech tokens."""
    file.parent.mkdir(parents=True, exist_ok=True)
    samples = np.pad(samples, (0, -len(samples) % TOKEN_24))
    write_audio(file, samples * min(1.0, PEAK / max(float(np.abs(samples).max()), 1e-6)), RATE)


def sentences(text: Path, model: Path, count: int, symbols: Sequence[int], seed: int) -> list[str]:
    """Phonemes of so many sentences of the file, of so many symbols at least and at most."""
    lines, front, found = text.read_text(encoding="utf-8").splitlines(), TextFrontend.load(model), []
    for number in np.random.default_rng(seed).permutation(len(lines)):
        phonemes = front.phonemes(lines[number].strip())
        if symbols[0] <= len(phonemes) <= symbols[1]:
            found.append(phonemes)
            if len(found) == count:
                break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kokoro", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True, help="a sentence on each line")
    parser.add_argument("--model", type=Path, required=True, help="model directory that phonemises the text")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--symbols", type=int, nargs=2, default=(LEAST, MOST), help="of a sentence, least and most")
    parser.add_argument("--voices", type=int, default=5, help="other voices of every sentence")
    parser.add_argument("--named", nargs="*", default=[], help="voices that say half of it")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    args = parser.parse_args()
    voices = read_voices(args.kokoro)
    others = {name: vectors for name, vectors in voices.items() if name != FIRST}
    texts, rows = sentences(args.text, args.model, args.sentences, args.symbols, args.seed), []
    work = (args.kokoro, voices[FIRST], args.out)
    with multiprocessing.get_context("spawn").Pool(args.workers, start, work) as pool:
        pitches = pool.map(measure, others.values())
        timbres = [
            Timbre(name, vectors[:, :TIMBRE], hertz)
            for (name, vectors), hertz in zip(others.items(), pitches, strict=True)
        ]
        jobs = [
            Sentence(name, phonemes, cast(name, timbres, set(args.named), args.voices))
            for name, phonemes in ((f"{args.seed}-{number}", phonemes) for number, phonemes in enumerate(texts))
        ]
        for done, found in enumerate(pool.imap(speak, jobs), 1):
            rows += found
            if done % 20 == 0:
                print(f"{done}/{len(jobs)} sentences", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    body = "".join("\t".join(row[name] for name in COLUMNS) + "\n" for row in rows)
    write_text(args.out / "metadata.tsv", "\t".join(COLUMNS) + "\n" + body)


if __name__ == "__main__":
    main()
