"""The parts of a `LightModel` that listen to a recording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mamtra.encoders.framing import MARGIN, SAMPLES_PER_TOKEN, windows
from mamtra.light.encoder_graph import build_speaker, build_tokenizer
from mamtra.light.features import kaldi_fbank_80, mel_24k, whisper_log_mel
from mamtra.light.graph import GraphBuilder
from mamtra.light.sessions import open_session
from mamtra.light.weights import StoredWeights


class LightHearing:
    """See `mamtra.synthesis.reference.Hearing`.

    Args:
        tokenizer: weights and section of config.json of the speech tokenizer.
        speaker: those of the speaker encoder.
        threads: of the sessions.
    """

    def __init__(
        self,
        tokenizer: tuple[StoredWeights, Mapping[str, Any]],
        speaker: tuple[StoredWeights, Mapping[str, Any]],
        threads: int = 1,
    ) -> None:
        graphs = [GraphBuilder(name, weights, "float", folded=True) for name, (weights, _) in
                  (("tokenizer", tokenizer), ("speaker", speaker))]  # fmt: skip
        build_tokenizer(graphs[0], tokenizer[1])
        build_speaker(graphs[1], speaker[1])
        self._tokenizer, self._speaker = (open_session(graph, threads) for graph in graphs)
        self._mels = tokenizer[1]["num_mels"]

    def tokenize(self, wave: np.ndarray) -> np.ndarray:
        """Speech tokens, as of `mamtra.encoders.speech_tokenizer.SpeechTokenizer.tokenize`."""
        count, margin = -(-len(wave) // SAMPLES_PER_TOKEN), MARGIN * SAMPLES_PER_TOKEN
        padded = np.pad(wave, (margin, margin + count * SAMPLES_PER_TOKEN - len(wave)))
        log_mel, found = whisper_log_mel(padded, self._mels)[None], []
        for heard, kept in windows(count + 2 * MARGIN):
            (tokens,) = self._tokenizer.run(None, {"mel": log_mel[..., 4 * heard.start : 4 * heard.stop]})
            found.append(tokens[0, kept.start - heard.start : kept.stop - heard.start])
        return np.concatenate(found)[MARGIN : MARGIN + count]

    def mel(self, wave: np.ndarray) -> np.ndarray:
        """Log mel."""
        return mel_24k(wave)

    def fbank(self, wave: np.ndarray) -> np.ndarray:
        """Log filter bank."""
        return kaldi_fbank_80(wave)

    def embed(self, fbanks: np.ndarray) -> np.ndarray:
        """Speaker embeddings."""
        return self._speaker.run(None, {"fbank": fbanks})[0]
