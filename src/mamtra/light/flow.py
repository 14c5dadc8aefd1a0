"""Speech tokens to mel: `mamtra.acoustic.flow` and `mamtra.acoustic.flow_stream` over the graphs of `mamtra.light.flow_graph`."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np

from mamtra.acoustic.flow_steps import check_steps
from mamtra.errors import MamTraError
from mamtra.light.flow_graph import (
    Shapes,
    build_encoder,
    build_step,
    encoder_state,
    relative_positions,
    step_state,
    time_encoding,
)
from mamtra.light.graph import GraphBuilder, Products
from mamtra.light.random import normal_rows
from mamtra.light.sessions import open_session
from mamtra.light.weights import StoredWeights

NOISE_FRAMES = 15000
_NOISE_BLOCK = 1000

Arrays = dict[str, np.ndarray]


class LightFlow:
    """The flow.

    Args:
        weights: its weights.
        config: section of config.json.
        steps: Euler steps, or steps of a few-step flow.
        products: see `mamtra.light.graph.Products`.
        free: a stream's tokens see all that are pushed with them, instead of those of their chunk of `chunk_size` alone: hops need
            not end with a chunk, and cost one call.

    Attributes:
        free: see above.
        files: of its weights.
        settings: what decides the mel besides the weights.
    """

    def __init__(
        self,
        weights: StoredWeights,
        config: Mapping[str, Any],
        steps: int,
        products: Products = "float",
        free: bool = False,
    ) -> None:
        self.files, self.config = weights.files, config
        self.free, self._products = free, products
        self._plan(steps)
        graphs = [GraphBuilder(name, weights, products, folded=True) for name in ("encoder", "step")]
        build_encoder(graphs[0], config)
        build_step(graphs[1], config)
        self._encoder, self._step = (open_session(graph, plain=True) for graph in graphs)
        self._noise = np.zeros((0, config["output_size"]), np.float32)

    def of_steps(self, steps: int | None) -> LightFlow:
        """The same flow with another number of steps; itself for None.

        Raises:
            MamTraError: it cannot take so many.
        """
        if steps is None:
            return self
        other = copy(self)
        other._plan(steps)
        return other

    def _plan(self, steps: int) -> None:
        config = self.config
        trained = config.get("trained_steps", ())
        check_steps(steps, trained)
        self.settings = {"config": dict(config), "steps": steps, "products": self._products}
        times = 1 - np.cos(np.linspace(0, 1, steps + 1) * 0.5 * np.pi)
        encodings = [time_encoding(t, 4 * config["output_size"]) for t in times[:-1]]
        lengths = [np.array(length, np.float32) for length in np.diff(times)]
        self._steps = [{"time": time, "dt": length} for time, length in zip(encodings, lengths, strict=True)]
        if trained:
            for step in self._steps:
                step["length"] = time_encoding(float(step["dt"]), 4 * config["output_size"])

    def stream(self, prompt_speech: np.ndarray, prompt_mel: np.ndarray, embedding: np.ndarray) -> LightFlowStream:
        """A stream that begins with a prompt: tokens (P,), their mel (ratio * P, mel) and the speaker embedding (E,)."""
        return LightFlowStream(self, prompt_speech, prompt_mel, embedding)

    def whole(
        self, tokens: np.ndarray, prompt_speech: np.ndarray, prompt_mel: np.ndarray, embedding: np.ndarray
    ) -> np.ndarray:
        """Mel (mel, ratio * N) of tokens (N,) that see each other all, after a prompt as in `stream`."""
        state = self.empty_state()
        mel, _ = self.advance(
            np.concatenate([prompt_speech, tokens]),
            len(prompt_speech) + len(tokens),
            prompt_mel,
            embedding,
            state,
            0,
            last=True,
        )
        return np.ascontiguousarray(mel[len(prompt_mel) :].T)

    def empty_state(self) -> list[Arrays]:
        """State at the beginning of a stream: that of the encoder, then that of each Euler step."""
        return [_zeros(encoder_state(self.config)), *[_zeros(step_state(self.config))] * len(self._steps)]

    def advance(
        self,
        tokens: np.ndarray,
        count: int,
        prompt: np.ndarray,
        embedding: np.ndarray,
        state: list[Arrays],
        offset: int,
        *,
        last: bool = False,
    ) -> tuple[np.ndarray, list[Arrays]]:
        """Compute the mel of some tokens, which see each other and all earlier ones.

        Args:
            tokens: (count + A,) of which the last A are only looked ahead at; fewer than the look-ahead at the end.
            count: see above.
            prompt: (F, mel) of the prompt from the first of these frames on, perhaps none.
            embedding: (E,) of the speaker.
            state: after the tokens before.
            offset: number of the tokens before.
            last: nothing follows, so that no state is kept.

        Returns:
            (ratio * count, mel) and the state after them, empty after the last ones.

        Raises:
            MamTraError: the utterance is longer than the noise.
        """
        config, ratio = self.config, self.config["token_mel_ratio"]
        width, frames, begin = config["input_size"], ratio * count, ratio * offset
        missing = config["pre_lookahead_len"] - (len(tokens) - count)
        mu, speaker, *kept = self._encoder.run(
            ["mu", "speaker"] if last else None,
            {
                "tokens": tokens[None].astype(np.int64),
                "padding": np.zeros((1, missing, width), np.float32),
                "slow": relative_positions(count, width, offset),
                "fast": relative_positions(frames, width, begin),
                "embedding": embedding[None],
                **state[0],
            },
        )
        states = [] if last else [dict(zip(state[0], kept, strict=True))]
        mel = self.noise(begin + frames)[None, begin:]
        given = np.zeros_like(mu)
        given[0, : len(prompt[:frames])] = prompt[:frames]
        conditions = {"mu": mu, "speaker": speaker, "prompt": given}
        for step, past in zip(self._steps, state[1:], strict=True):
            mel, *kept = self._step.run(["next"] if last else None, {"x": mel, **conditions, **step, **past})
            if not last:
                states.append(dict(zip(past, kept, strict=True)))
        return mel[0], states

    def noise(self, frames: int) -> np.ndarray:
        """The first frames of `mamtra.acoustic.flow_matching.fixed_noise`, (frames, mel)."""
        if frames > NOISE_FRAMES:
            raise MamTraError(
                f"The utterance has {frames} mel frames with its prompt but the noise only {NOISE_FRAMES}; "
                "split the text into shorter pieces."
            )
        noise = self._noise  # another thread may replace it meanwhile
        if frames > len(noise):
            wanted = min(NOISE_FRAMES, -(-frames // _NOISE_BLOCK) * _NOISE_BLOCK)
            noise = np.ascontiguousarray(normal_rows(0, self.config["output_size"], NOISE_FRAMES, wanted).T)
            self._noise = noise
        return noise[:frames]


class LightFlowStream:
    """Mel of one utterance, chunk by chunk; see `mamtra.acoustic.flow_stream.FlowStream`."""

    def __init__(self, flow: LightFlow, speech: np.ndarray, mel: np.ndarray, embedding: np.ndarray) -> None:
        self._flow, self._prompt, self._embedding = flow, mel, embedding
        self._waiting = speech.astype(np.int64)
        self._state = flow.empty_state()
        self._offset, self._ratio = 0, flow.config["token_mel_ratio"]

    def fork(self) -> LightFlowStream:
        """A second stream that continues from here."""
        other = object.__new__(LightFlowStream)
        other.__dict__.update(self.__dict__)
        return other

    @property
    def offset(self) -> int:
        """Tokens computed so far, those of the prompt included."""
        return self._offset

    @property
    def bytes(self) -> int:
        """Memory of the state."""
        return sum(array.nbytes for part in self._state for array in part.values())

    def state(self) -> dict[str, np.ndarray]:
        """What a stream has computed, by name; see `restore`."""
        named = {f"{part}.{name}": array for part, arrays in enumerate(self._state) for name, array in arrays.items()}
        return {**named, "offset": np.array(self._offset)}

    def restore(self, state: Mapping[str, np.ndarray]) -> bool:
        """Make a stream that has computed nothing yet what another one with the same prompt was; False where that does not fit."""
        if set(state) != set(self.state()):
            return False
        self._state = [{name: state[f"{part}.{name}"] for name in arrays} for part, arrays in enumerate(self._state)]
        self._offset = int(state["offset"])
        self._waiting = self._waiting[self._offset :]
        return True

    def whole(self, tokens: np.ndarray) -> np.ndarray:
        """Mel (mel, frames) of all that follows, at least one token, which sees itself and the prompt all."""
        waiting, prompt = np.concatenate([self._waiting, tokens]), self._prompt[self._ratio * self._offset :]
        mel, _ = self._flow.advance(
            waiting, len(waiting), prompt, self._embedding, self._state, self._offset, last=True
        )
        return np.ascontiguousarray(mel[len(prompt) :].T)

    def wanted(self, least: int) -> int:
        """Tokens to push for the next mel, of `least` new tokens at least."""
        config = self._flow.config
        chunk = config["chunk_size"]
        of_prompt = max(0, len(self._prompt) // config["token_mel_ratio"] - self._offset)
        complete = of_prompt + least if self._flow.free else -(-(of_prompt + least) // chunk) * chunk
        return max(0, complete + config["pre_lookahead_len"] - len(self._waiting))

    def push(self, tokens: list[int], final: bool = False) -> np.ndarray:
        """Take tokens and return the mel (mel, frames) that no later token changes; `final` returns the rest."""
        config = self._flow.config
        chunk, ahead, ratio = config["chunk_size"], config["pre_lookahead_len"], config["token_mel_ratio"]
        waiting = np.concatenate([self._waiting, np.asarray(tokens, np.int64)])
        if self._flow.free and len(
            tokens
        ):  # the prompt alone ends with a complete chunk, so that it is the same for all
            chunk = max(chunk, len(waiting))
            ready = len(waiting) if final else max(0, len(waiting) - ahead)
        else:
            ready = len(waiting) if final else max(0, (len(waiting) - ahead) // chunk) * chunk
        made = [np.zeros((0, config["output_size"]), np.float32)]
        for start in range(0, ready, chunk):
            count, prompt = min(chunk, ready - start), self._prompt[ratio * self._offset :]
            mel, self._state = self._flow.advance(
                waiting[start : start + count + ahead], count, prompt, self._embedding, self._state, self._offset
            )
            self._offset += count
            made.append(mel[len(prompt) :])
        self._waiting = waiting[ready:]
        return np.concatenate(made).T


def _zeros(shapes: Shapes) -> Arrays:
    def sizes(shape: tuple[int | str, ...]) -> list[int]:
        return [0 if isinstance(size, str) else size for size in shape]

    return {f"past.{name}": np.zeros(sizes(shape), np.float32) for name, shape in shapes.items()}
