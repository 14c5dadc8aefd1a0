"""Train the teacher: 24 narrow Qwen2-style attention layers that predict speech tokens from phonemes.

python train_lm.py --config mini.yaml --tokens tokens.npz --out teacher.safetensors [key=value ...]
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lm_data import endless, epoch, held_out
from tokens import TokenSet
from torch import Tensor
from training import Captured, Optimiser, Run, command, digit_rows, resume, section

from mamtra.data.collate import ahead
from mamtra.distill.losses import cross_entropy
from mamtra.encoders.speech_tokenizer import SpeechTokenizerConfig
from mamtra.models.config import SpeechLMConfig
from mamtra.models.layout import SPEECH
from mamtra.models.speech_lm import SpeechLM


def guess(lm: SpeechLM, kind: Tensor, ids: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy over speech positions, and the accuracy of the most probable token."""
    with torch.autocast(kind.device.type, torch.bfloat16, enabled=kind.is_cuda, cache_enabled=False):
        logits = lm.logits(lm(lm.embed(kind, ids)))
    loss = cross_entropy(logits, target)
    with torch.no_grad():
        right = (logits.argmax(-1) == target).sum() / (target >= 0).sum()
    return loss, right


def add_token_noise(kind: Tensor, ids: Tensor, fraction: float, codes: int) -> Tensor:
    """The ids with a fraction of the speech tokens replaced by random ones, so that the model relies on the text.

    Sampled tokens differ from those of recordings; noise in the input narrows this gap and reduces overfitting.
    """
    drawn = torch.rand(ids.shape, device=ids.device) < fraction
    return torch.where(drawn & (kind == SPEECH), torch.randint_like(ids, codes), ids)


@torch.no_grad()
def held_out_loss(lm: SpeechLM, data: TokenSet, per_batch: int, device: str) -> dict[str, float]:
    """Cross entropy per speech token on the validation set, by source."""
    result = {}
    for number, source in enumerate(data.sources):
        rows = np.flatnonzero(held_out(data) & (data.source == number))[:400]
        total = count = 0.0
        for batch in epoch(data, rows, 0.0, per_batch, lm.config.eos_id, np.random.default_rng(0)):
            batch = {name: value.to(device) for name, value in batch.items()}
            tokens = int((batch["target"] >= 0).sum())
            total, count = total + float(guess(lm, **batch)[0]) * tokens, count + tokens
        result[source] = round(total / max(count, 1), 4)
    return result


def main() -> None:
    parser = command(__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=Path, required=True)
    args = parser.parse_args()
    config, device = section(args.config, "teacher", args.changes), args.device
    torch.manual_seed(config["seed"])
    data = TokenSet.load(args.tokens)
    lm = SpeechLM(SpeechLMConfig(**config["model"]), torch.Generator().manual_seed(config["seed"]))
    codebook = SpeechTokenizerConfig(**section(args.config, "tokenizer")["model"])
    with torch.no_grad():
        for table in (lm.speech_embedding.weight, lm.llm_decoder.weight):
            table[: codebook.num_tokens] = digit_rows(codebook, lm.config.hidden_size, 0.02, config["seed"])
    resume(lm, args.resume)
    lm.to(device)
    optimiser = Optimiser(lm, config["lr"], decay=config["decay"], average=config["average"])

    def step(kind: Tensor, ids: Tensor, target: Tensor) -> dict[str, Tensor]:
        loss, right = guess(lm, kind, add_token_noise(kind, ids, config["token_noise"], codebook.num_tokens), target)
        norm = optimiser.step(loss)
        return {"loss": loss.detach(), "right": right, "norm": norm}

    captured = Captured(step, device)
    rows = np.flatnonzero(~held_out(data))
    rng = np.random.default_rng(config["seed"])
    joined, eos = config["concatenate_same_speaker"], lm.config.eos_id
    batches = endless(data, rows, joined, config["tokens_per_batch"], eos, rng)
    run = Run(args.out, config["steps"], config["minutes"])
    saved = 0.0
    with closing(ahead(partial(next, batches))) as feed:
        for _ in run:
            optimiser.schedule(run.progress)
            run.report(200, **captured(**next(feed)), lr=optimiser.peak)
            if run.progress - saved > 0.25:  # so that an interrupted run leaves a checkpoint
                saved = run.progress
                run.save(optimiser.averaged_state(), config=lm.config.model_dump(), progress=run.progress)
    lm.load_state_dict(optimiser.averaged_state())
    measured = held_out_loss(lm, data, config["tokens_per_batch"], device)
    print("cross entropy per speech token, validation:", measured, flush=True)
    run.save(optimiser.averaged_state(), config=lm.config.model_dump(), measured=measured, utterances=len(rows))


if __name__ == "__main__":
    main()
