"""The text front end and the prompts of the published CosyVoice 2 code beside ours: the same inputs, then what differs.

It is run with the code in a folder of the user's, in an environment with its requirements: transformers, torchaudio,
openai-whisper, librosa, wetext, inflect, onnxruntime and Matcha-TTS. ``torchaudio.load`` is replaced by soundfile, which the code
asks it to use and which new versions of torchaudio no longer do. Nothing of the code is kept.
"""

from __future__ import annotations

import json
import random
import runpy
import sys
from collections.abc import Iterable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

TEXTS = Path(__file__).with_name("parity_texts.txt")
LANGUAGES = {
    "English": "He paid $4.50 for 3 apples at 5 p.m. Dr. Smith left; who stayed?",
    "Chinese": "2024年5月1日，气温25.5度。我有3个苹果，你呢？",
    "mixed": "我在U.S.A.买了3个apples - ok. 你好！",
    "Japanese": "東京タワーの高さは333メートルです。すごいですね！",
    "Korean": "안녕하세요, 만나서 반갑습니다! 오늘 날씨가 좋네요.",
    "French": "Il est 15 h 30 et j'ai payé 12,50 €; c'est ça?",
    "marked": "See <|en|> here: 50% of 80 is 40.",
}
SAID = "What I say, in 3 words"
INSTRUCTION = "Speak slowly.<|endofprompt|>"
REQUIREMENTS = ("wetext", "inflect", "transformers", "torchaudio", "openai-whisper", "librosa")


def mixed_texts() -> list[str]:
    """One a line, line breaks and tabs in them escaped."""
    lines = TEXTS.read_text(encoding="utf-8").splitlines()
    return [line.replace("\\n", "\n").replace("\\t", "\t") for line in lines]


def random_paragraphs(texts: list[str], count: int = 100, seed: int = 0) -> list[str]:
    """Texts joined at random, with characters of all kinds put in at random places."""
    rng, made = random.Random(seed), []
    odd = [*'.?!;:"”，。 0123456789\n-（）【】`²$%、', "——", " - ", "中"]
    for _ in range(count):
        text = list(" ".join(rng.sample(texts, rng.randint(1, 6))))
        for _ in range(rng.randint(0, 5)):
            text.insert(rng.randrange(len(text) + 1), rng.choice(odd))
        made.append("".join(text))
    return made


def write_directory(folder: Path, texts: Iterable[str]) -> Path:
    """A tiny CosyVoice 2 directory with random weights, whose tokenizer was made of the texts and knows every byte."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    from mamtra.acoustic.flow import FlowConfig
    from tests.factories import TINY_FLOW
    from tests.foreign import cosyvoice_directory, cosyvoice_lm
    from tests.tiny_onnx import write_onnx_files

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    )
    lm = cosyvoice_lm().model_copy(
        update={
            "text_vocab_size": 768,
            "num_speech_tokens": 6561,
            "speech_vocab_size": 6564,
            "eos_id": 6561,
            "fill_id": 6563,
        }
    )
    directory = cosyvoice_directory(folder / "cosyvoice", lm=lm, flow=FlowConfig(**TINY_FLOW))
    tokenizer.model.save(str(directory / "CosyVoice-BlankEN"))
    (directory / "CosyVoice-BlankEN" / "tokenizer_config.json").write_text('{"tokenizer_class": "Qwen2Tokenizer"}')
    write_onnx_files(directory, TINY_FLOW["spk_embed_dim"])
    return directory


def original_front_end(folders: list[Path], directory: Path) -> Any:
    """The published code's front end for a directory.

    Args:
        folders: of the code and of Matcha-TTS.
        directory: a CosyVoice 2 directory.
    """
    sys.path[:0] = [str(folder) for folder in folders]
    import soundfile
    import torchaudio

    def load(path: str, backend: str | None = None) -> tuple[torch.Tensor, int]:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return torch.from_numpy(samples.T.copy()), rate

    torchaudio.load = load
    from cosyvoice.cli.frontend import CosyVoiceFrontEnd
    from cosyvoice.tokenizer.tokenizer import get_qwen_tokenizer

    place = next(folder for folder in folders if (folder / "matcha").is_dir()) / "matcha" / "utils" / "audio.py"
    mel_spectrogram = runpy.run_path(str(place))["mel_spectrogram"]  # its package wants a framework for training
    mel = partial(mel_spectrogram, n_fft=1920, num_mels=80, sampling_rate=24000, hop_size=480, win_size=1920, fmin=0,
                  fmax=8000, center=False)  # fmt: skip
    get_tokenizer = partial(get_qwen_tokenizer, str(directory / "CosyVoice-BlankEN"), skip_special_tokens=True)
    files = [str(directory / name) for name in ("campplus.onnx", "speech_tokenizer_v2.onnx", "spk2info.pt")]
    return CosyVoiceFrontEnd(get_tokenizer, mel, *files, "all")


def compare_texts(theirs: Any, ours: Any, groups: dict[str, list[str]]) -> dict[str, Any]:
    """Segments and ids of texts through both front ends.

    Args:
        theirs: the original's front end.
        ours: `mamtra.load` of the same directory.
        groups: texts by the name of their group.

    Returns:
        by group: texts, those with other segments, with other ids, and at which the original stops; up to five that differ.
    """
    found: dict[str, Any] = {}
    for name, texts in groups.items():
        row: dict[str, Any] = {
            "texts": len(texts),
            "segments": 0,
            "ids": 0,
            "other_segments": 0,
            "other_ids": 0,
            "stops": 0,
        }
        row["differ"] = []
        for text in texts:
            made = list(ours.model.text.iterate(text))
            try:
                wanted = theirs.text_normalize(text)
            except Exception as error:  # whatever its libraries raise
                row["stops"] += 1
                row["differ"].append({"text": text, "error": repr(error)[:200]})
                continue
            ids = [theirs._extract_text_token(part)[0][0].tolist() for part in wanted]
            row["segments"] += len(wanted)
            row["ids"] += sum(map(len, ids))
            other = [part.text for part in made] != wanted
            row["other_segments"] += other
            row["other_ids"] += [list(part.ids) for part in made] != ids
            if other:
                row["differ"].append({"text": text, "original": wanted, "ours": [part.text for part in made]})
        row["differ"] = row["differ"][:5]
        found[name] = row
    return found


def compare_modes(theirs: Any, ours: Any, recordings: list[Path]) -> list[dict[str, Any]]:
    """What LM and flow get in every mode and language: the greatest difference of each input, recordings cloned at every rate.

    A language's figure counts the inputs that differ: text ids, prompt text, speech tokens of LM and flow exactly, mel and
    embedding by more than 5e-3; None where the original stops at the text.
    """
    rows = []
    for mode in ("zero-shot", "cross-lingual", "instruct", "stored speaker", "embedding alone"):
        row: dict[str, Any] = {"mode": mode, "inputs": 0, "unlike": {}, "mel": 0.0, "embedding": 0.0, "languages": {}}
        for language, text in LANGUAGES.items():
            other = 0
            for recording in recordings if mode in ("zero-shot", "cross-lingual", "instruct") else recordings[:1]:
                try:
                    wanted = _originals(theirs, mode, text, str(recording))
                except AssertionError:  # of wetext's parser
                    row["languages"][language] = None
                    break
                made = _ours(ours, mode, text, recording)
                assert len(wanted) == len(made), (mode, language)
                for one, another in zip(wanted, made, strict=True):
                    for name, value in one.items():
                        row["inputs"] += 1
                        differs = _differs(row, name, value, another[name])
                        other += differs
                        row["unlike"][name] = row["unlike"].get(name, 0) + differs
            row["languages"].setdefault(language, other)
        rows.append(row)
    return rows


def _differs(row: dict[str, Any], name: str, theirs: np.ndarray, ours: np.ndarray) -> bool:
    if theirs.shape != ours.shape:
        return True
    if name not in ("mel", "embedding"):
        return not np.array_equal(theirs, ours)
    distance = float(np.abs(theirs - ours).max(initial=0))
    row[name] = max(row[name], distance)
    return distance > 5e-3


def _originals(front: Any, mode: str, text: str, recording: str) -> list[dict[str, np.ndarray]]:
    said = front.text_normalize(SAID, split=False)
    make = {
        "zero-shot": lambda part: front.frontend_zero_shot(part, said, recording, 24000, ""),
        "cross-lingual": lambda part: front.frontend_cross_lingual(part, recording, 24000, ""),
        "instruct": lambda part: front.frontend_instruct2(part, INSTRUCTION, recording, 24000, ""),
        "stored speaker": lambda part: front.frontend_zero_shot(part, said, recording, 24000, "stored"),
        "embedding alone": lambda part: front.frontend_sft(part, "ann"),
    }[mode]
    if mode == "stored speaker":
        stored = front.frontend_zero_shot("", said, recording, 24000, "")
        front.spk2info["stored"] = {name: value for name, value in stored.items() if name not in ("text", "text_len")}
    names = {"text": "text", "prompt text": "prompt_text", "LM prompt": "llm_prompt_speech_token",
             "flow prompt": "flow_prompt_speech_token", "mel": "prompt_speech_feat", "embedding": "flow_embedding"}  # fmt: skip
    nothing = {"mel": np.zeros((0, 80), np.float32)}
    made = [make(part) for part in front.text_normalize(text)]
    return [
        {
            name: given[key][0].numpy() if key in given else nothing.get(name, np.zeros(0, np.int64))
            for name, key in names.items()
        }
        for given in made
    ]


def _ours(tts: Any, mode: str, text: str, recording: Path) -> list[dict[str, np.ndarray]]:
    if mode == "embedding alone":
        voice = tts.voice("ann").in_mode("speaker")
    else:
        voice = tts.voice(recording, None if mode in ("cross-lingual", "instruct") else SAID)
    if mode == "instruct":
        voice = voice.instruct(tts.model.text.instruction(INSTRUCTION))
    prompt_text, prompt_speech = voice.lm_prompt
    shared = {"prompt text": prompt_text, "LM prompt": prompt_speech, "flow prompt": voice.prompt_speech,
              "mel": voice.prompt_mel, "embedding": voice.embedding}  # fmt: skip
    shared = {name: value.numpy() for name, value in shared.items()}
    return [{"text": np.array(part.ids), **shared} for part in tts.model.text.iterate(text)]


def versions() -> dict[str, str]:
    """Of the libraries that decide what the original does."""
    found = {}
    for name in REQUIREMENTS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def main() -> None:
    """Run in a process of its own: FOLDERS as JSON, a folder to work in, then recordings; prints the result as JSON."""
    import logging

    import mamtra

    folders, place, *recordings = sys.argv[1:]
    texts = mixed_texts()
    groups = {"mixed texts": texts, "random paragraphs": random_paragraphs(texts)}
    directory = write_directory(Path(place), texts)
    theirs = original_front_end([Path(folder) for folder in json.loads(folders)], directory)
    logging.disable(logging.INFO)
    ours = mamtra.load(directory)
    found = {
        "front_end": theirs.text_frontend,
        "texts": compare_texts(theirs, ours, groups),
        "modes": compare_modes(theirs, ours, [Path(recording) for recording in recordings]),
        "libraries": versions(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
