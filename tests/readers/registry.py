"""Every reader of files from elsewhere: how a valid file is made, and how it is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch

from mamtra.acoustic.causal_hift import CausalHiFTConfig
from mamtra.acoustic.hift import HiFTConfig
from mamtra.audio.io import read_audio, write_audio
from mamtra.bulk.lines import Defaults, read_lines
from mamtra.checkpoints.cosyvoice.lm import PickledTensors
from mamtra.checkpoints.cosyvoice.parts import (
    load_flow,
    load_vocoder,
    read_flow_config,
    read_generation,
)
from mamtra.checkpoints.cosyvoice.sizes3 import read_dit_flow_config, read_mel_high
from mamtra.checkpoints.cosyvoice.speakers import read_speakers
from mamtra.checkpoints.cosyvoice.vocoder_sizes import read_vocoder_sizes
from mamtra.checkpoints.cosyvoice.yaml import Settings
from mamtra.checkpoints.model_files import read_config
from mamtra.checkpoints.model_files import read_generation as read_generation_config
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.checkpoints.provenance import needs_distillation
from mamtra.checkpoints.tensor_files import TensorFiles
from mamtra.conversion.ranking_file import open_table, read_ranking
from mamtra.conversion.ranking_table import Row, complete
from mamtra.cost.presets import find_blueprint
from mamtra.data.corpora import open_recordings
from mamtra.data.token_sets import import_token_set
from mamtra.data.token_shards import TokenShards
from mamtra.distill.checkpoints import Checkpoint, Measured, Position, RunState, load_checkpoint, save_checkpoint
from mamtra.distill.config import read_config as read_training
from mamtra.distill.log import read_log
from mamtra.encoders.onnx import OnnxSpeakerEncoder
from mamtra.evaluate import load_scores
from mamtra.evaluate.listening.analysis import analyse
from mamtra.evaluate.listening.answers import read_answers
from mamtra.evaluate.listening.key import Key, read_key
from mamtra.evaluate.sentences import read_sentences
from mamtra.evaluate.sets import read_set
from mamtra.evaluate.versa import read_config as read_versa
from mamtra.light.weights import StoredWeights
from mamtra.models.config import SpeechLMConfig
from mamtra.paper.settings import read_experiments
from mamtra.ranking.calibration import read_utterances
from mamtra.synthesis.model import Model
from mamtra.text.bpe import BpeFrontend, build_qwen_tokenizer
from mamtra.text.english.lexicon import Lexicon
from mamtra.text.english.pronunciations import read_user_lexicon
from mamtra.text.frontend import TextFrontend
from mamtra.text.tokenizer import PhonemeTokenizer
from mamtra.voices.info import read_info
from mamtra.voices.voice import Voice
from tests.distill.corpora import make_corpus
from tests.evaluate.test_damaged_files import FIRST, KEY, ROWS, SESSION, VERSA, lines
from tests.factories import reference, speech_like, tiny_model, tiny_parts
from tests.foreign import cosyvoice_directory, huggingface_directory
from tests.foreign3 import cosyvoice3_parts
from tests.ranking.test_damaged_files import HEADER, token_set
from tests.tiny_onnx import write_onnx_files

Kind = Literal["json", "lines", "bytes"]
RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@dataclass(frozen=True)
class Reader:
    """A reader.

    Attributes:
        name: of the file, in words.
        make: writes a valid file, with what belongs to it, into an empty folder and returns its path.
        read: reads it as the package does.
        kind: a JSON object, JSON lines, or anything else, which is damaged byte by byte.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    kind: Kind = "bytes"


def _of_model(file: str) -> Callable[[Path], Path]:
    return lambda folder: tiny_model(folder / "model") / file


def _of_cosyvoice(file: str) -> Callable[[Path], Path]:
    return lambda folder: cosyvoice_directory(folder / "cosy") / file


def _of_cosyvoice3(file: str) -> Callable[[Path], Path]:
    return lambda folder: cosyvoice3_parts(folder / "cosy") / file


PARTS = ("lm", "flow", "vocoder", "speech_tokenizer", "speaker_encoder")


def _parts(path: Path) -> None:
    """Load the parts, but for those that were loaded with equal settings."""
    content = read_config(path.parent)
    others = {key: value for key, value in content.items() if key not in PARTS}
    for section in PARTS:
        settings = repr((path, section, content.get(section), others))
        if settings not in _loaded:
            Model(path.parent).part(section)
            _loaded.add(settings)


_loaded = set[str]()


def _bpe(file: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        backbone = cosyvoice_directory(folder / "cosy") / "CosyVoice-BlankEN"
        build_qwen_tokenizer(backbone).save(str(folder / "tokenizer.json"))
        (folder / "text.json").write_text('{"kind": "bpe", "most_tokens": 70}')
        return folder / file

    return make


def _phoneme_settings(folder: Path) -> Path:
    path = tiny_model(folder / "model") / "text.json"
    path.write_text('{"kind": "phonemes", "longest_segment": 100, "lexicon_source": "own"}')
    return path


def _written(name: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_text(content, encoding="utf-8")
        return path

    return make


def _arrays(path: Path) -> None:
    stored = StoredWeights(path)
    for name in stored:
        assert stored[name].array.size >= 0


def _index(folder: Path) -> Path:
    model = tiny_model(folder / "model")
    path = model / "flow.safetensors.index.json"
    names = [*TensorFiles(model / "flow.safetensors").tensors]
    (model / "flow.safetensors").rename(model / "flow-1.safetensors")
    path.write_text(json.dumps({"weight_map": dict.fromkeys(names, "flow-1.safetensors")}))
    return path


def _provenance(folder: Path) -> Path:
    path = tiny_model(folder / "model") / "provenance.json"
    path.write_text(json.dumps({"conversion": {"checks": []}, "plan": {"layer_types": ["linear_attention"]}}))
    return path


def _cosyvoice_sizes(path: Path) -> None:
    settings = Settings(path)
    read_flow_config(settings, 1)
    read_vocoder_sizes(settings, HiFTConfig)
    read_generation(settings)


def _cosyvoice3_sizes(path: Path) -> None:
    settings = Settings(path)
    read_dit_flow_config(settings)
    read_vocoder_sizes(settings, CausalHiFTConfig)
    read_generation(settings)
    read_mel_high(settings, 8000.0)


_unchanged = cache(Settings)
"""Settings beside a damaged file, which are read once."""


def _onnx(folder: Path) -> Path:
    source = cosyvoice_directory(folder / "cosy")
    write_onnx_files(source)
    return source / "campplus.onnx"


def _token_set(folder: Path) -> Path:
    path = folder / "t.npz"
    path.write_bytes(token_set())
    return path


def _table(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        stored = open_table(folder / name, HEADER)
        list(complete(stored, lambda gone, wanted: (Row(layer=i, score=0.5 + i) for i in wanted)))
        return stored.path

    return make


@cache
def _sizes() -> SpeechLMConfig:
    return tiny_parts()["lm"].config


def _calibration(path: Path) -> None:
    read_utterances(path, _sizes(), list, count=5)


def _shards(folder: Path) -> Path:
    make_corpus(folder / "corpus", 6)
    return folder / "corpus" / "manifest.json"


def _shard(folder: Path) -> Path:
    return next(_shards(folder).parent.glob("*.safetensors"))


def _all_rows(path: Path) -> None:
    shards = TokenShards(path.parent, verify=False)
    for row in range(len(shards)):
        assert len(shards[row].text) >= 0


def _state(folder: Path) -> Path:
    tensors = {"a": torch.zeros(3)}
    state = RunState(
        step=4,
        position=Position(epoch=0, number=4),
        elapsed=2.5,
        counts={"train": 4},
        measured=Measured(step=2, values={"loss": 1.5}),
        settings={"run": {"seed": 1}},
    )
    save_checkpoint(folder, Checkpoint(state, tensors, tensors), 1)
    return next(folder.rglob("state.json"))


def _answers(path: Path) -> None:
    key = path.with_name("k.key.json")
    key.write_text(json.dumps(KEY), encoding="utf-8")
    _analysed(read_key(key), path)


def _key(path: Path) -> None:
    answers = path.with_name("a.json")
    answers.write_text(json.dumps(SESSION), encoding="utf-8")
    _analysed(read_key(path), answers)


def _analysed(key: Key, answers: Path) -> None:
    systems = analyse(read_answers([answers], key)[0], key)["systems"].values()
    assert all(1 <= system["mean"] <= 5 for system in systems if system["ratings"])


def _corpus(name: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        reference(folder / "a.wav", 1.0)
        return _written(name, content)(folder)

    return make


def _set(name: str, content: str) -> tuple[Callable[[Path], Path], Callable[[Path], object]]:
    return _corpus(name, content), lambda path: read_set(path)


def _sound(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_audio(folder / name, speech_like(0.5, 24000), 24000)
        return folder / name

    return make


_JSON_LINE = json.dumps({"audio": "a.wav", "text": "Good morning.", "speaker": "x", "id": "a"}) + "\n"
_DISTILL = "out: runs/x\nteacher: {model: mini}\nstudent: {ratio: '1:1'}\ndata: {train: t, validation: 0.3}\nrun: {epochs: 1}\n"
_VERSA = "- name: wer\n- {name: mos, kind: x}\n"
_LOG = lines([{"kind": "train", "step": 1, "loss": 2.5}, {"kind": "end", "step": 2}])
_BATCH = lines([{"id": "a", "text": "Hello.", "voice": "clara", "seed": 3, "speed": 1.1, "format": "wav"}])

READERS = (
    Reader("config.json of a model, and its parts", _of_model("config.json"), _parts, "json"),
    Reader("generation_config.json", _of_model("generation_config.json"), lambda p: read_generation_config(p.parent), "json"),
    Reader("text.json, phonemes", _phoneme_settings, lambda p: TextFrontend.load(p.parent), "json"),
    Reader("text.json, subwords", _bpe("text.json"), lambda p: BpeFrontend.load(p.parent), "json"),
    Reader("tokenizer.json, phonemes", _of_model("tokenizer.json"), PhonemeTokenizer.load, "json"),
    Reader("tokenizer.json, subwords", _bpe("tokenizer.json"), lambda p: BpeFrontend.load(p.parent), "json"),
    Reader("lexicon", _of_model("lexicon.txt.xz"), Lexicon.load),
    Reader("lexicon of a user", _written("own.tsv", "tomato\ttəmˈɑtO\nnaïve\tnIˈiv\n"), read_user_lexicon),
    Reader("weights, torch", _of_model("flow.safetensors"), lambda p: TensorFiles(p).load()),
    Reader("weights, without torch", _of_model("flow.safetensors"), _arrays),
    Reader("index of shards", _index, lambda p: TensorFiles(p.with_name("flow.safetensors")).load(), "json"),
    Reader("voice", _of_model("voices/tiny.safetensors"), Voice.load),
    Reader("header of a voice", _of_model("voices/tiny.safetensors"), read_info),
    Reader("provenance.json", _provenance, lambda p: needs_distillation(p.parent), "json"),
    Reader("cosyvoice2.yaml", _of_cosyvoice("cosyvoice2.yaml"), _cosyvoice_sizes),
    Reader("cosyvoice3.yaml", _of_cosyvoice3("cosyvoice3.yaml"), _cosyvoice3_sizes),
    Reader("flow.pt of CosyVoice 3", _of_cosyvoice3("flow.pt"),
           lambda p: load_flow(p.parent, _unchanged(p.with_name("cosyvoice3.yaml")))),
    Reader("hift.pt of CosyVoice 3", _of_cosyvoice3("hift.pt"),
           lambda p: load_vocoder(p.parent, _unchanged(p.with_name("cosyvoice3.yaml")))),
    Reader("llm.pt", _of_cosyvoice("llm.pt"), PickledTensors),
    Reader("flow.pt", _of_cosyvoice("flow.pt"), lambda p: load_flow(p.parent, _unchanged(p.with_name("cosyvoice2.yaml")))),
    Reader("spk2info.pt", _of_cosyvoice("spk2info.pt"), lambda p: read_speakers(p.parent)),
    Reader("config.json of the backbone", _of_cosyvoice("CosyVoice-BlankEN/config.json"),
           lambda p: open_language_model(p.parents[1]), "json"),
    Reader("config.json of Hugging Face", lambda f: huggingface_directory(f / "hf") / "config.json",
           lambda p: open_language_model(p.parent), "json"),
    Reader("config.json for a plan", lambda f: huggingface_directory(f / "hf") / "config.json",
           lambda p: find_blueprint(p.parent), "json"),
    Reader("ONNX network", _onnx, OnnxSpeakerEncoder),
    Reader("token set to import", _token_set, lambda p: import_token_set(p, p.parent / "out", text_vocab_size=50)),
    Reader("token set to rank with", _token_set, _calibration),
    Reader("utterances to rank with", _written("u.jsonl", lines([{"text": [1, 2], "speech": [3, 4]}] * 3)), _calibration, "lines"),
    Reader("manifest of shards", _shards, _all_rows, "json"),
    Reader("shard", _shard, _all_rows),
    Reader("training log", _written("log.jsonl", _LOG), lambda p: read_log(p.parent), "lines"),
    Reader("state of a training run", _state, lambda p: load_checkpoint(p.parent), "json"),
    Reader("ranking, JSON lines", _table("t.jsonl"), read_ranking, "lines"),
    Reader("ranking, CSV", _table("t.csv"), read_ranking),
    Reader("ranking, printed", _written("r.json", json.dumps({"ranking": [2, 0, 1]})), read_ranking, "json"),
    Reader("score file", _written("s.jsonl", lines([FIRST, *ROWS])), load_scores, "lines"),
    Reader("score lines of VERSA", _written("s.jsonl", lines(VERSA)), load_scores, "lines"),
    Reader("configuration of VERSA", _written("v.yaml", _VERSA), lambda p: read_versa(p, any_metric=True)),
    Reader("key of a listening test", _written("k.key.json", json.dumps(KEY)), _key, "json"),
    Reader("answers of a listening test", _written("a.json", json.dumps(SESSION)), _answers, "json"),
    Reader("distill.yaml", _written("d.yaml", _DISTILL), read_training),
    Reader("experiments.yaml", _written("e.yaml", (RECIPES / "cosyvoice2" / "experiments.yaml").read_text()), read_experiments),
    Reader("corpus, JSON lines", _corpus("c.jsonl", _JSON_LINE), lambda p: open_recordings(str(p)).items(), "lines"),
    Reader("corpus, table", _corpus("c.csv", "audio,text,speaker\na.wav,Hello there.,x\n"),
           lambda p: open_recordings(str(p)).items()),
    Reader("evaluation set, Seed-TTS", *_set("s.lst", "a|Hello.|a.wav|Good morning.|a.wav\n")),
    Reader("evaluation set, table", *_set("s.tsv", "id\ttext\na\tGood morning.\n")),
    Reader("sentences", _written("s.txt", "Good morning.\nGood night.\n"), read_sentences),
    Reader("texts of a batch", _written("b.jsonl", _BATCH), lambda p: list(read_lines(p, Defaults())), "lines"),
    Reader("recording, wav", _sound("a.wav"), read_audio),
    Reader("recording, flac", _sound("a.flac"), read_audio),
    Reader("recording, opus", _sound("a.opus"), read_audio),
    Reader("recording, mp3", _sound("a.mp3"), read_audio),
)  # fmt: skip
"""All of them."""
