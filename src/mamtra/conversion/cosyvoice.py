"""Convert the other files of a CosyVoice 2 or 3 directory, so that the result is a complete model."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from mamtra.checkpoints.cosyvoice.files import SECOND, VOCODER, family_of, find_flow, find_settings
from mamtra.checkpoints.cosyvoice.parts import (
    check_language_model,
    load_flow,
    load_vocoder,
    open_text,
    read_generation,
    text_config,
)
from mamtra.checkpoints.cosyvoice.sizes3 import read_mel_high
from mamtra.checkpoints.cosyvoice.speakers import read_speakers
from mamtra.checkpoints.cosyvoice.yaml import Settings
from mamtra.checkpoints.model_files import GENERATION
from mamtra.checkpoints.parts import PARTS
from mamtra.checkpoints.storage import pack
from mamtra.checkpoints.tensor_files import TensorInfo
from mamtra.checkpoints.tensor_writer import TensorWriter
from mamtra.models.config import SpeechLMConfig
from mamtra.runtime.json_files import write_json
from mamtra.text.bpe import CONFIG_FILE, TOKENIZER_FILE
from mamtra.voices.voice import Voice


def write_other_parts(source: Path, folder: Path, lm: SpeechLMConfig) -> dict[str, Any]:
    """Write flow, vocoder, ONNX files, tokenizer, front end, preset voices and sampling defaults.

    Flow and vocoder keep their float32 values, the vocoder with weight norm folded in. A directory without settings
    holds the language model alone, and nothing is written.

    Args:
        source: a CosyVoice 2 or 3 directory.
        folder: where the model directory is being made.
        lm: sizes of the language model, which the files have to fit.

    Returns:
        sections of config.json.

    Raises:
        MamTraError: a file is missing, damaged, or differs from what the settings say.
    """
    path = find_settings(source)
    if path is None:
        return {}
    settings, family = Settings(path), family_of(source)
    check_language_model(settings, lm)
    sections: dict[str, Any] = {}
    if (high := read_mel_high(settings, family.mel_high)) != SECOND.mel_high:
        sections["mel_high"] = high
    for section, load in (("flow", load_flow), ("vocoder", load_vocoder)):
        module = load(source, settings)
        header = {"format": "pt", "storage": "float32"}
        state = module.state_dict()
        infos = {name: TensorInfo(tensor.dtype, tuple(tensor.shape)) for name, tensor in state.items()}
        with TensorWriter(folder / PARTS[section].file, infos, metadata=header) as writer:
            for name, tensor in state.items():
                writer.write(name, pack({name: tensor}, "float32")[name])
        sections[section] = module.config.model_dump(mode="json")
        del module, state
    for name, place in _onnx_files(source).items():
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / place)
    open_text(source, lm).save(str(folder / TOKENIZER_FILE))
    write_json(folder / CONFIG_FILE, text_config(source).model_dump(mode="json"))
    write_json(folder / GENERATION, read_generation(settings).model_dump(mode="json"))
    for number, (name, tensors) in enumerate(read_speakers(source).items(), start=1):
        (folder / "voices").mkdir(exist_ok=True)
        voice = Voice.preset(name, tensors, family.voice_space)
        safe = voice.renamed(_file_name(name, number), description=f"preset speaker {name}")
        safe.save(folder / "voices" / f"{safe.name}.safetensors")
    return sections


def converted_files(source: Path) -> tuple[str, ...]:
    """Files of the source that are converted rather than copied."""
    settings = find_settings(source)
    if settings is None:
        return ()
    names = (find_flow(source).name, VOCODER, *_onnx_files(source), "spk2info.pt", settings.name)
    return tuple(name for name in names if (source / name).is_file())


def _onnx_files(source: Path) -> dict[str, str]:
    """Names in the source and in the model."""
    return {family_of(source).speech_tokenizer: "speech_tokenizer.onnx", "campplus.onnx": "speaker_encoder.onnx"}


def _file_name(name: str, number: int) -> str:
    kept = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-_.")[:64]
    return kept or f"speaker-{number}"
