"""Llasa (arXiv 2502.04128): Llama 3.2 whose vocabulary holds 65,536 speech tokens, and hybrids that were converted from it.

The text is a user's message, speech tokens are the answer; the speech tokens of a prompt are the beginning of the answer. The
language model is run by this package, as published or converted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mamtra.audio.io import read_audio
from mamtra.checkpoints.find import find_model
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.checkpoints.parts import PARTS
from mamtra.checkpoints.strict_loading import load_strictly
from mamtra.errors import MamTraError
from mamtra.evaluate.adapters.xcodec2 import RATE, open_codec
from mamtra.models.causal_lm import CausalLM
from mamtra.runtime.device import pick_device
from mamtra.runtime.files import hash_files
from mamtra.runtime.optional import need

if TYPE_CHECKING:
    from mamtra.evaluate.adapters.open import AdapterOptions

TEMPERATURE = 0.8
LONGEST = 2048
"""Positions of prompt, text and speech together."""
_SPEECH = re.compile(r"<\|s_(\d+)\|>")
_ASKED = "Convert the text to speech:<|TEXT_UNDERSTANDING_START|>{}<|TEXT_UNDERSTANDING_END|>"
_START, _END = "<|SPEECH_GENERATION_START|>", "<|SPEECH_GENERATION_END|>"


class Llasa:
    """One of these models.

    Args:
        name: a folder, of transformers or converted by this package, or a name on the hub.
        options: the codec as `model`, and the device.

    Raises:
        MamTraError: a library is missing, or the model or its codec cannot be loaded or is something else.
    """

    sample_rate = RATE

    def __init__(self, name: str, options: AdapterOptions) -> None:
        if not name:
            raise MamTraError("Llasa needs a folder or a name on the hub; give llasa:DIR|NAME.")
        directory = find_model(name)
        library = need("transformers", "Llasa's tokenizer", "'mamtra[hf]'")
        try:
            self._text = library.PreTrainedTokenizerFast.from_pretrained(str(directory))
        except Exception as error:  # whatever the library raises at files that are not what it wants
            raise MamTraError(f"{directory} has no tokenizer of Llasa; get the model again.") from error
        numbered = ((_SPEECH.fullmatch(token), i) for token, i in self._text.get_vocab().items())
        speech = {int(found[1]): i for found, i in numbered if found}
        self._end = self._text.convert_tokens_to_ids(_END)
        if not speech or self._text.chat_template is None or self._end in (None, self._text.unk_token_id):
            raise MamTraError(f"{directory} is no Llasa: its tokenizer has no speech tokens, or no template of a chat.")
        self._ids, self._tokens = speech, {i: token for token, i in speech.items()}
        device = pick_device(options.device)
        self._lm, weights = _load(directory, device)
        self._codec = open_codec(options.model, device)
        kinds = self._lm.config.layer_types
        self.about: dict[str, Any] = {
            "system": f"llasa {directory.resolve().name}",
            "weights_sha256": weights,
            "layer_types": "".join("A" if kind == "full_attention" else "M" for kind in kinds),
            "codec": options.model or "published", "temperature": TEMPERATURE,
        }  # fmt: skip

    def speak(self, text: str, prompt_wav: Path | None, prompt_text: str | None) -> np.ndarray:
        """See `Adapter.speak`; a prompt whose words are not known is not used."""
        known = prompt_wav is not None and prompt_text is not None
        wave = torch.from_numpy(read_audio(prompt_wav, RATE)[0]) if known else torch.zeros(0)
        before = self._codec.encode(wave) if known else []
        made = self.generate(f"{prompt_text} {text}" if known else text, before)
        if not made:
            return np.zeros(0, np.float32)
        return self._codec.decode([*before, *made])[len(wave) :].numpy()

    def prompt_ids(self, text: str, speech: Sequence[int] = ()) -> list[int]:
        """Ids of a text and of the speech that the answer begins with."""
        chat = [
            {"role": "user", "content": _ASKED.format(text)},
            {"role": "assistant", "content": _START + "".join(f"<|s_{token}|>" for token in speech)},
        ]
        whole = self._text.apply_chat_template(chat, tokenize=False, continue_final_message=True)
        return self._text(whole, add_special_tokens=False).input_ids

    @torch.inference_mode()
    def generate(self, text: str, speech: Sequence[int] = ()) -> list[int]:
        """Speech tokens that follow, drawn with torch's global generator.

        Raises:
            MamTraError: text and prompt are too long to be answered.
        """
        lm, ids = self._lm, self.prompt_ids(text, speech)
        room = LONGEST - len(ids)
        if room < 1:
            raise MamTraError(
                f"Text and prompt are {len(ids)} tokens long, of {LONGEST} that Llasa can take with its answer."
            )
        device = lm.head_weight.device
        state = lm.init_state(1, LONGEST)
        logits = lm.logits(lm(lm.embed(torch.tensor([ids], device=device)), state)[:, -1])
        found: list[int] = []
        for _ in range(room):
            drawn = torch.multinomial(torch.softmax(logits[0].float() / TEMPERATURE, -1), 1)
            if (token := int(drawn)) == self._end:
                break
            if token in self._tokens:
                found.append(self._tokens[token])
            logits = lm.next_logits(lm.embed(drawn[None])[0], state)
        return found


def _load(directory: Path, device: torch.device) -> tuple[CausalLM, str]:
    """The language model, in bfloat16 on a GPU, and the hash of its files."""
    stored = open_language_model(directory)
    if stored.section != "causal_lm":
        raise MamTraError(f"{directory} is a speech model of this package, not Llasa; evaluate it by its name alone.")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    weights: dict[str, Tensor] = {name: stored.read(name).to(dtype) for name in stored.names}
    lm = load_strictly(PARTS["causal_lm"].build(stored.config), weights, str(stored.source.path))
    return lm.to(device), hash_files(*stored.source.files)[:16]
