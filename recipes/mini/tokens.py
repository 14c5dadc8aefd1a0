"""The token set: phoneme ids and speech tokens of every utterance, training data of the language models (about 2 bytes per token).

    python tokens.py --corpus DIR ... --tokenizer tokenizer.safetensors --out tokens.npz [--known tokens.npz]

Rows follow the order of the corpus; shards of speech tokens (speak.py --codes) come after those with audio.
Arrays: speech (uint16), speech_len, text (uint8, ids of `mamtra.text.english.phonemes`), text_len,
speaker and source (indices into the lists speakers and sources).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from corpus import CODES, TOKEN_16, Corpus, Row, finished, read_index
from speech import BULK, by_length, cut
from trained import load_network

from mamtra.encoders.speech_tokenizer import MARGIN, SpeechTokenizer
from mamtra.text.english.phonemes import phoneme_ids


@dataclass
class TokenSet:
    """Ragged arrays: row i has speech[speech_at[i] : speech_at[i + 1]] and text[text_at[i] : text_at[i + 1]]."""

    speech: np.ndarray
    speech_at: np.ndarray
    text: np.ndarray
    text_at: np.ndarray
    speaker: np.ndarray
    speakers: list[str]
    source: np.ndarray
    sources: list[str]

    @classmethod
    def load(cls, path: Path) -> TokenSet:
        with np.load(path) as found:
            ends = {
                name: np.concatenate([[0], np.cumsum(found[f"{name}_len"], dtype=np.int64)])
                for name in ("speech", "text")
            }
            return cls(
                found["speech"].astype(np.int64), ends["speech"], found["text"].astype(np.int64), ends["text"],
                found["speaker"], found["speakers"].tolist(), found["source"], found["sources"].tolist(),
            )  # fmt: skip

    @classmethod
    def of_corpus(cls, path: Path, rows: Sequence[Row]) -> TokenSet:
        """That of a corpus with these rows.

        Raises:
            SystemExit: it was made from another one.
        """
        found = cls.load(path)
        if [row.tokens for row in rows] != np.diff(found.speech_at).tolist():
            raise SystemExit("the token set was made from another corpus")
        return found

    def __len__(self) -> int:
        return len(self.speaker)

    def codes(self, row: int) -> np.ndarray:
        return self.speech[self.speech_at[row] : self.speech_at[row + 1]]

    def ids(self, row: int) -> np.ndarray:
        return self.text[self.text_at[row] : self.text_at[row + 1]]


@torch.inference_mode()
def tokenize_corpus(corpus: Corpus, tokenizer: SpeechTokenizer, device: str) -> list[np.ndarray]:
    """Speech tokens of every row (uint16), batched by length."""
    batch = 1_000 if device == "cpu" else 25_000  # tokens; three times as fast if it fits a CPU's caches
    found: list = [None] * len(corpus.rows)
    for picked in by_length(corpus.rows, batch):
        starts = torch.tensor([corpus.rows[i].start for i in picked], device=device)
        lengths = torch.tensor([corpus.rows[i].tokens for i in picked], device=device)
        wave = cut(corpus.audio16, starts, lengths, int(lengths.max()), TOKEN_16)
        codes = tokenizer(tokenizer.log_mel(wave)).cpu().numpy().astype(np.uint16)
        for i, row in zip(picked, codes, strict=True):
            found[i] = row[MARGIN : MARGIN + corpus.rows[i].tokens]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--known", type=Path, help="a token set of the same corpus, kept for the speaker BULK")
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    rows, codes = [], []
    shards = finished(args.corpus)
    if any(not (shard / CODES).exists() for shard in shards):
        corpus = Corpus(args.corpus, args.device, ("audio16",))
        rows = list(corpus.rows)
        network = load_network(args.tokenizer, "speech_tokenizer").to(args.device)
        codes = tokenize_corpus(corpus, network, args.device)
    for shard in shards:
        if (shard / CODES).exists():
            coded = read_index([shard])
            codes += np.split(np.fromfile(shard / CODES, "<u2"), np.cumsum([row.tokens for row in coded])[:-1])
            rows += coded
    if args.known:
        known = TokenSet.load(args.known)
        codes = [
            known.codes(i) if row.speaker == BULK else code
            for i, (row, code) in enumerate(zip(rows, codes, strict=True))
        ]
    number = phoneme_ids()
    text = [np.array([number[c] for c in row.phonemes if c in number], np.uint8) for row in rows]
    speakers = sorted({row.speaker for row in rows})
    sources = sorted({row.source for row in rows})
    np.savez_compressed(
        args.out,
        speech=np.concatenate(codes), speech_len=np.array([len(c) for c in codes], np.uint16),
        text=np.concatenate(text), text_len=np.array([len(t) for t in text], np.uint16),
        speaker=np.array([speakers.index(r.speaker) for r in rows], np.uint16), speakers=np.array(speakers),
        source=np.array([sources.index(r.source) for r in rows], np.uint8), sources=np.array(sources),
    )  # fmt: skip
    print(
        f"{len(codes)} utterances, {sum(map(len, codes))} speech tokens, {sum(map(len, text))} text ids -> {args.out}"
    )


if __name__ == "__main__":
    main()
