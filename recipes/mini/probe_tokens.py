"""What the tokens of some tokenizers hold of speakers that none of them was trained on: phones, pitch, and who speaks.

    python probe_tokens.py --train DIR ... --test DIR ... --tokenizers NAME=PLACE ... --out probe.json [--minutes 1]

A small network is trained on the tokens of the training corpora to read phones (CTC), relative pitch and the speaker, the same for
every tokenizer, and then reads the tokens of the test corpora, of other speakers. Printed and written for each tokenizer: phone
error rate on both, correlation and error of the pitch, and how often the speaker of a training voice is named from other
utterances. PLACE is a file of train_tokenizer.py or a model directory.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from corpus import Corpus
from rapidfuzz.distance import Levenshtein
from supervision import usual_pitch
from tokens import tokenize_corpus
from torch import Tensor, nn
from train_tokenizer import phones
from trained import load_network
from training import Optimiser

from mamtra.encoders.speech_tokenizer import ConvNeXtBlock, token_digits
from mamtra.synthesis.model import Model

TEST_SHARE = 5
"""One utterance in so many of the training corpora is for testing."""
BATCH = 64


class Probe(nn.Module):
    """Digits of tokens (B, N, dims) -> phone log-probabilities (B, 2N, phones + 1), pitch (B, 2N), speakers (B, speakers)."""

    def __init__(self, dims: int, phones: int, speakers: int, width: int = 256) -> None:
        super().__init__()
        self.read = nn.Linear(dims, width)
        self.blocks = nn.Sequential(*[ConvNeXtBlock(width, 7, 3) for _ in range(5)])
        self.phones, self.pitch = nn.Linear(width, 2 * (phones + 1)), nn.Linear(width, 2)
        self.heard = nn.Sequential(*[ConvNeXtBlock(width, 5, 3) for _ in range(2)])
        self.speaker, self.inner = nn.Linear(2 * width, speakers), nn.Linear(dims, width)

    def forward(self, digits: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, tokens, _ = digits.shape
        inside = (torch.arange(tokens, device=digits.device) < lengths[:, None])[..., None]
        hidden = self.blocks((self.read(digits) * inside).transpose(1, 2)).transpose(1, 2)
        log_probs = self.phones(hidden).view(batch, 2 * tokens, -1).log_softmax(-1)
        heard = self.heard((self.inner(digits) * inside).transpose(1, 2)).transpose(1, 2) * inside
        mean = heard.sum(1) / lengths[:, None]
        spread = ((heard - mean[:, None]).square() * inside).sum(1) / lengths[:, None]
        return (
            log_probs,
            self.pitch(hidden).reshape(batch, -1),
            self.speaker(torch.cat((mean, (spread + 1e-6).sqrt()), 1)),
        )


class Data:
    """Tokens of a corpus by one tokenizer, with what the probe is to read from them.

    Args:
        corpus: with audio16 and f0.
        tokenizer: file of weights, or a model directory.
        number: of each phone.
        speakers: names; others are not read.
        device: of torch.
    """

    def __init__(
        self, corpus: Corpus, tokenizer: Path, number: dict[str, int], speakers: list[str], device: str
    ) -> None:
        packed = tokenizer.is_dir()  # a model directory
        network = Model(tokenizer).speech_tokenizer if packed else load_network(tokenizer, "speech_tokenizer")
        network = network.to(device).eval()
        codes = tokenize_corpus(corpus, network, device)
        self.device, self.dims = device, network.config.dims
        self.digits = [token_digits(torch.from_numpy(c.astype(np.int64)).to(device), network.config) for c in codes]
        self.targets = [[number[c] for c in phones(row.phonemes) if c in number] for row in corpus.rows]
        self.speaker = [speakers.index(row.speaker) if row.speaker in speakers else -1 for row in corpus.rows]
        usual = usual_pitch(corpus)
        self.pitch = []
        for n, row in enumerate(corpus.rows):
            hertz = corpus.f0[2 * row.start : 2 * (row.start + row.tokens)].float()
            self.pitch.append(torch.where(hertz > 0, hertz.clamp(min=1).log2() - usual[n], torch.nan))

    def batch(self, picked: list[int]) -> tuple[Tensor, ...]:
        """Digits, lengths, flat targets, their counts, pitch, speakers of some rows."""
        digits = nn.utils.rnn.pad_sequence([self.digits[i] for i in picked], batch_first=True)
        lengths = torch.tensor([len(self.digits[i]) for i in picked], device=self.device)
        flat = torch.tensor([p for i in picked for p in self.targets[i]], device=self.device)
        counts = torch.tensor([len(self.targets[i]) for i in picked], device=self.device)
        tones = nn.utils.rnn.pad_sequence([self.pitch[i] for i in picked], batch_first=True, padding_value=torch.nan)
        return digits, lengths, flat, counts, tones, torch.tensor([self.speaker[i] for i in picked], device=self.device)


def train(data: Data, rows: list[int], phones: int, speakers: int, minutes: float, seed: int) -> Probe:
    """A probe trained on some rows."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    probe = Probe(data.dims, phones, speakers).to(data.device)
    optimiser = Optimiser(probe, 1e-3, average=0.99)
    begin = time.time()
    while (progress := (time.time() - begin) / (60 * minutes)) < 1:
        optimiser.schedule(progress)
        picked = rng.choice(rows, min(BATCH, len(rows)), replace=False).tolist()
        digits, lengths, flat, counts, tones, who = data.batch(picked)
        log_probs, pitch, named = probe(digits, lengths)
        loss = (
            F.ctc_loss(log_probs.transpose(0, 1), flat, 2 * lengths, counts, reduction="sum", zero_infinity=True)
            / counts.sum()
        )
        known = tones.isfinite()
        loss = loss + 2 * (pitch - tones.nan_to_num())[known].abs().mean()
        optimiser.step(loss + 0.1 * F.cross_entropy(named, who.clamp(min=0), reduction="none")[who >= 0].sum() / BATCH)
    probe.load_state_dict(optimiser.averaged_state())
    return probe.eval()


@torch.inference_mode()
def read(probe: Probe, data: Data, rows: list[int]) -> dict[str, float]:
    """Figures of some rows."""
    errors = total = right = named = 0
    heard, wanted = [], []
    for at in range(0, len(rows), BATCH):
        picked = rows[at : at + BATCH]
        digits, lengths, _, _, tones, who = data.batch(picked)
        log_probs, pitch, guess = probe(digits, lengths)
        for i, row, length in zip(picked, log_probs.argmax(-1).tolist(), lengths.tolist(), strict=True):
            best = row[: 2 * length]
            found = [p for n, p in enumerate(best) if p and (n == 0 or p != best[n - 1])]
            errors, total = errors + Levenshtein.distance(found, data.targets[i]), total + len(data.targets[i])
        known = tones.isfinite()
        heard.append(pitch[known].cpu())
        wanted.append(tones[known].cpu())
        right, named = right + int((guess.argmax(1) == who)[who >= 0].sum()), named + int((who >= 0).sum())
    one, other = torch.cat(heard), torch.cat(wanted)
    found = {
        "utterances": len(rows),
        "phone_errors_percent": 100 * errors / total,
        "pitch_correlation": float(torch.corrcoef(torch.stack((one, other)))[0, 1]),
        "pitch_error_semitones": float(12 * (one - other).abs().mean()),
    }
    return found | ({"speaker_named_percent": 100 * right / named} if named else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, nargs="+", required=True)
    parser.add_argument("--test", type=Path, nargs="+", required=True)
    parser.add_argument("--tokenizers", nargs="+", required=True, metavar="NAME=PLACE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=1.0, help="of training each probe")
    parser.add_argument("--least", type=int, default=8, help="utterances of a speaker that is to be named")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    known, new = (Corpus(folders, args.device, ("audio16", "f0")) for folders in (args.train, args.test))
    alphabet = sorted({c for row in known.rows for c in phones(row.phonemes)})
    number = {c: n + 1 for n, c in enumerate(alphabet)}
    names = [row.speaker for row in known.rows]
    speakers = sorted({name for name in names if names.count(name) >= args.least})
    found = json.loads(args.out.read_text()) if args.out.exists() else {}
    for word in args.tokenizers:
        name, _, file = word.partition("=")
        data = Data(known, Path(file), number, speakers, args.device)
        fits = [n for n, t in enumerate(data.targets) if 0 < len(t) < 2 * len(data.digits[n]) - 4]
        rows = [n for n in fits if n % TEST_SHARE]
        probe = train(data, rows, len(alphabet), len(speakers), args.minutes, args.seed)
        other = Data(new, Path(file), number, speakers, args.device)
        found[name] = {
            "new_speakers": read(probe, other, list(range(len(other.targets)))),
            "seen_speakers": read(probe, data, [n for n in fits if n % TEST_SHARE == 0]),
        }
        print(name, json.dumps(found[name]), flush=True)
        args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
