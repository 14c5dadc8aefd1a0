"""The language model of a CosyVoice 2 or 3 directory (arXiv 2412.10117 and 2505.17589): llm.pt, and the sizes in
CosyVoice-BlankEN/config.json.

Its sizes follow from the tensors and that file; for the settings see `mamtra.checkpoints.cosyvoice.yaml`.
"""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from mamtra.checkpoints.cosyvoice.files import SECOND, THIRD, check_generation, find_lm, find_settings, is_cosyvoice
from mamtra.checkpoints.cosyvoice.third_lm import FILL, SPECIAL_IDS, ThirdTensors, is_third
from mamtra.checkpoints.cosyvoice.yaml import Settings
from mamtra.checkpoints.huggingface import TOKENIZER_FILES, causal_lm_config
from mamtra.checkpoints.pickles import load_pickle
from mamtra.checkpoints.stored_lm import StoredLM
from mamtra.checkpoints.tensor_files import TensorInfo, TensorSource
from mamtra.errors import MamTraError
from mamtra.models.config import SpeechLMConfig
from mamtra.models.layout import MIX
from mamtra.runtime.json_files import read_json
from mamtra.runtime.printable import printable

BACKBONE = "CosyVoice-BlankEN"
_INNER = "llm.model.model."
_TEXT_HEAD = "llm.model.lm_head.weight"
_TABLES = ("llm_embedding.weight", "speech_embedding.weight", "llm_decoder.weight", "llm_decoder.bias")
_NEW_NORM = {".weight_g": ".parametrizations.weight.original0", ".weight_v": ".parametrizations.weight.original1"}
_OLD_NORM = re.compile(r"\.weight_[gv]$")
_SPECIAL_IDS = 3  # after the speech tokens: end of speech, a spare id, fill (asks for more text)


class PickledTensors(TensorSource):
    """The tensors of a flat state dict that ``torch.save`` wrote. Only tensors and numbers are unpickled, never objects.

    Raises:
        MamTraError: it is missing, damaged, or holds something else.
    """

    RELOAD_BYTES = 2**28

    def __init__(self, path: Path) -> None:
        self.path = path
        self._load()
        found = {name: TensorInfo(tensor.dtype, tuple(tensor.shape)) for name, tensor in self._state.items()}
        self.tensors = dict(sorted(found.items()))

    def read(self, name: str) -> Tensor:
        """See `TensorSource.read`."""
        # a mapping keeps every page that was read in memory, so it is reopened now and then
        if self._touched > self.RELOAD_BYTES:
            self._load()
        self._touched += self.tensors[name].bytes
        return self._state[name]

    def _load(self) -> None:
        self._state: dict[str, Tensor] = {}
        self._touched = 0
        found = _unnested(load_pickle(self.path, mapped=True))
        self._state = _flat({name: value for name, value in found.items() if isinstance(value, Tensor)})


def _mix_ratio(directory: Path) -> tuple[int, int]:
    """Text ids and speech tokens of a chunk of the interleaved layout, which only the settings tell."""
    path = find_settings(directory)
    found = MIX if path is None else Settings(path).get("llm.mix_ratio", MIX)
    whole = isinstance(found, list | tuple) and len(found) == 2 and all(type(value) is int for value in found)
    if not whole or min(found) < 1:
        raise MamTraError(
            f"{path} has llm.mix_ratio {printable(repr(found))}; it should be two whole numbers such as [5, 15]."
        )
    return found[0], found[1]


def _unnested(found: dict) -> dict:
    """The state dict of a training checkpoint, which may lie under a name of its own."""
    for name in ("model", "state_dict"):
        if isinstance(found.get(name), dict):
            return found[name]
    return found


def _flat(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without the prefix that data-parallel training puts before all of them, and with today's names of weight norm."""
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return {_OLD_NORM.sub(lambda found: _NEW_NORM[found[0]], name): tensor for name, tensor in state.items()}


def open_cosyvoice(directory: Path) -> StoredLM:
    """Open the speech LM of a CosyVoice 2 or 3 directory.

    The tokenizer's files are its companions. Flow, vocoder, speech tokenizer and speaker encoder have other formats and are
    converted by `mamtra.conversion.cosyvoice`.

    Raises:
        MamTraError: files that are missing or damaged, or of another CosyVoice.
    """
    is_cosyvoice(directory)
    source: TensorSource = PickledTensors(find_lm(directory))
    third, settings = is_third(source), find_settings(directory)
    if settings is not None:
        check_generation(source.path, THIRD if third else SECOND, settings)
    source = ThirdTensors(source) if third else source
    family = THIRD if third else SECOND
    lost = [name for name in (_INNER + "embed_tokens.weight", *_TABLES) if name not in source.tensors]
    if lost:
        raise MamTraError(f"{source.path} is not a language model of CosyVoice 2 or 3: it has no {lost[0]}.")
    path = directory / BACKBONE / "config.json"
    if not path.is_file():
        raise MamTraError(f"{path} is missing, which says how many heads the language model has; get the model again.")
    backbone = causal_lm_config(path, read_json(path))
    rows = source.tensors["speech_embedding.weight"].shape[0]
    special = SPECIAL_IDS if third else _SPECIAL_IDS
    if rows <= special:
        raise MamTraError(f"{source.path} has {rows} rows of speech, too few for {family.name}; get the model again.")
    shared = backbone.model_dump(exclude={"vocab_size", "tie_word_embeddings", "eos_ids"})
    config = SpeechLMConfig(
        **shared,
        text_vocab_size=source.tensors[_INNER + "embed_tokens.weight"].shape[0],
        num_speech_tokens=rows - special,
        speech_vocab_size=rows,
        eos_id=rows - special,
        fill_id=rows - special + FILL if third else rows - 1,
        mix_ratio=_mix_ratio(directory),
    )
    names = {name.replace(_INNER, "model.", 1): name for name in source.tensors if name != _TEXT_HEAD}
    unused = {_TEXT_HEAD: "the head over text, which speech does not need"} if _TEXT_HEAD in source.tensors else {}
    tokenizer = {name: directory / BACKBONE / name for name in TOKENIZER_FILES}
    files = sorted(path.name for path in directory.iterdir() if path.is_file() and not path.name.startswith("."))
    return StoredLM(
        directory,
        family.voice_space,
        "lm",
        config,
        source,
        names,
        unused=unused,
        settings={"sample_rate": 24000, "voice_space": family.voice_space},
        companions={name: path for name, path in tokenizer.items() if path.is_file()},
        not_copied=tuple(name for name in files if name != source.path.name),
        source_info={"architecture": family.voice_space},
    )
