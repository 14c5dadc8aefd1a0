"""Systems that are not ours: a server, fakes of packages, a tiny Llasa as published and converted, a file of one's own."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest
import torch

import mamtra
from mamtra.audio.formats import encode
from mamtra.cli import main
from mamtra.errors import MamTraError
from mamtra.evaluate import evaluate
from mamtra.evaluate.adapters import llasa, xcodec2
from mamtra.evaluate.adapters.open import AdapterOptions, SystemFailure, open_adapter
from mamtra.evaluate.sets import Line
from mamtra.evaluate.systems import Adapted, open_system
from mamtra.models.plan import LayerPlan
from tests.factories import reference
from tests.foreign import LAYERS, huggingface_directory

TONE = np.sin(np.arange(8000) / 20).astype(np.float32) / 2
LINE = Line("a", "Hello there.", "hello there")


def transcribe(samples, rate):
    return "hello there"


transcribe.about = {"asr": "stand-in"}


@pytest.fixture
def server():
    """A server that answers what `answer` says and keeps what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.asked.append((self.path, self.headers.get("Authorization"), asked))
            status, content = self.server.answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.asked, made.answer = [], (200, encode(TONE, 16000, "wav"))
    threading.Thread(target=made.serve_forever, daemon=True).start()
    made.name = f"openai:http://127.0.0.1:{made.server_port}/v1"
    yield made
    made.shutdown()
    made.server_close()


def test_a_server_is_evaluated(server, tmp_path, monkeypatch):
    monkeypatch.setenv("THE_KEY", "secret")
    (tmp_path / "set.txt").write_text("Hello there.\n")
    scores = evaluate(
        server.name, tmp_path / "set.txt", whisper=transcribe, output=tmp_path / "x.jsonl", voice="ann", model="big",
        key_variable="THE_KEY", sounds=tmp_path / "kept",
    )  # fmt: skip
    ((path, key, asked),) = server.asked
    assert (path, key) == ("/v1/audio/speech", "Bearer secret")
    assert asked == {"model": "big", "input": "Hello there.", "voice": "ann", "response_format": "wav"}
    assert scores.figures["wer_english"]["value"] == 0 and len(list((tmp_path / "kept").iterdir())) == 1
    about = scores.file.fingerprint
    assert about["system"] == f"big at 127.0.0.1:{server.server_port}" and about["prompts"] == "not used"
    assert "secret" not in (tmp_path / "x.jsonl").read_text()


def test_a_text_that_a_server_refuses_is_not_spoken(server, tmp_path):
    server.answer = (400, b'{"error": {"message": "too long"}}')
    (tmp_path / "set.txt").write_text("Hello there.\n")
    scores = evaluate(server.name, tmp_path / "set.txt", whisper=transcribe, output=tmp_path / "x.jsonl")
    (row,) = scores.file.rows.values()
    assert row["error"].endswith("answers HTTP 400: too long.") and scores.figures["wer_english"]["value"] == 100


def test_the_command_line_names_its_score_file(server, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    good, server.answer = server.answer, (401, b"")
    (tmp_path / "set.txt").write_text("Hello there.\n")
    monkeypatch.setattr("mamtra.evaluate.judges.asr.open_transcriber", lambda *_: transcribe)
    said = refused(["evaluate", server.name, "--set", "set.txt", "--whisper", "w"])
    assert "asks for a key; set OPENAI_API_KEY (HTTP 401)" in said
    assert not list(tmp_path.glob("*.jsonl"))
    server.answer = good
    assert main(["evaluate", server.name, "--set", "set.txt", "--whisper", "w"]) == 0
    assert [path.name for path in tmp_path.glob("*.jsonl")] == ["openai-v1.scores.jsonl"]


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (403, b"", "refuses the key in OPENAI_API_KEY"),
        (404, b"nothing here", "answers HTTP 404: nothing here; does the URL end with /v1"),
        (500, b'{"error": {"message": "out of\\nmemory"}}', "answers HTTP 500: out of.memory"),
        (200, b"<html>hello</html>", "gave no sound but '<html>hello</html>'"),
        (200, b"", "gave no sound"),
    ],
)
def test_answers_that_are_no_sound(server, monkeypatch, status, content, message):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    server.answer = (status, content)
    with pytest.raises(MamTraError, match=message):
        open_adapter(server.name, AdapterOptions()).speak("Hello.", None, None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("openai:", "no URL of a server"),
        ("openai:ftp://host", "no URL of a server"),
        ("openai:http://127.0.0.1:9/v1", "does not answer .*; check the URL"),
        ("zonos:", "give zonos:transformer or zonos:hybrid"),
        ("zonos:hybrid", "Evaluating Zonos needs zonos; pip install from a checkout"),
        ("llasa:", "give llasa:DIR"),
        ("nothing.py", "There is no file nothing.py"),
    ],
)
def test_systems_that_are_not_there(name, message):
    with pytest.raises(MamTraError, match=message):
        open_adapter(name, AdapterOptions()).speak("Hello.", None, None)


class FakeZonos:
    """Of the package's interface what the adapter uses."""

    autoencoder = types.SimpleNamespace(sampling_rate=44100, decode=lambda codes: codes.float()[:, None] / 100)
    made: ClassVar[list] = []

    @classmethod
    def from_pretrained(cls, repo_id, revision=None, device="cpu"):
        cls.made.append((repo_id, device))
        return cls()

    def make_speaker_embedding(self, wav, sr):
        assert wav.ndim == 2 and sr == 16000
        return torch.ones(1, 1, 128)

    def prepare_conditioning(self, cond_dict):
        assert cond_dict["language"] == "en-us" and cond_dict["device"] == "cpu"
        return cond_dict

    def generate(self, prefix_conditioning, progress_bar=True):
        assert not progress_bar
        count = 9 if prefix_conditioning["speaker"] is None else 5
        return torch.randint(0, 100, (1, count * len(prefix_conditioning["text"])))


@pytest.fixture
def zonos(monkeypatch):
    for name, content in (
        ("zonos", {}),
        ("zonos.model", {"Zonos": FakeZonos}),
        ("zonos.conditioning", {"make_cond_dict": lambda **given: given}),
    ):
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("kind", ["transformer", "hybrid"])
def test_zonos(zonos, tmp_path, kind):
    system = open_system(f"zonos:{kind}", voice=None, seeds=(3,), keep=None, device="cpu")
    assert FakeZonos.made[-1] == (f"Zyphra/Zonos-v0.1-{kind}", "cpu") and system.about["system"] == f"zonos {kind}"
    before = torch.get_rng_state()
    first, again, other = (system(LINE, seed) for seed in (3, None, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert first.sample_rate == 44100 and first.samples.shape == (9 * 12,)
    assert np.array_equal(first.samples, again.samples) and not np.array_equal(first.samples, other.samples)
    prompted = Line(
        "b", "Hello there.", "hello there", prompt=reference(tmp_path / "p.wav", rate=16000), prompt_text="hi"
    )
    assert system(prompted).samples.shape == (5 * 12,)
    with pytest.raises(MamTraError, match=r"Zonos .* cannot be loaded: AttributeError"):
        open_adapter(f"zonos:{tmp_path}", AdapterOptions(device="cpu"))


TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if not loop.last %}<|end|>{% endif %}{% endfor %}"
SPEECH_TOKENS = 16


@pytest.fixture(scope="module")
def llasas(tmp_path_factory):
    """A tiny Llama with a vocabulary like Llasa's, and the hybrid made of it."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    place = tmp_path_factory.mktemp("llasa")
    marks = ["<|user|>", "<|assistant|>", "<|end|>", *(f"<|{of}_{at}|>" for of in ("TEXT_UNDERSTANDING", "SPEECH_GENERATION")
             for at in ("START", "END"))]  # fmt: skip
    words = ["[UNK]", "Convert", "the", "text", "to", "speech", ":", "Hello", "there", ".", "What", "I", "say"]
    special = [*marks, *(f"<|s_{token}|>" for token in range(SPEECH_TOKENS))]
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.add_special_tokens(special)
    source = huggingface_directory(place / "llama", "llama")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", chat_template=TEMPLATE)
    fast.save_pretrained(str(source))
    assert len(fast) <= 50
    hybrid = mamtra.convert(source, place / "hybrid", LayerPlan.from_ratio(LAYERS, "1:1"))
    return {"published": source, "converted": hybrid}


class FakeCodec:
    """Tokens are the loudness of each 20 ms."""

    def encode(self, wave):
        return [min(SPEECH_TOKENS - 1, int(100 * part.abs().mean())) for part in wave.split(320)]

    def decode(self, tokens):
        return torch.tensor(tokens).repeat_interleave(320) / 100


@pytest.fixture
def codec(monkeypatch):
    monkeypatch.setattr(llasa, "open_codec", lambda *_: FakeCodec())
    monkeypatch.setattr(llasa, "LONGEST", 60)


@pytest.mark.parametrize("kind", ["published", "converted"])
def test_llasa(llasas, codec, tmp_path, kind):
    system = open_system(f"llasa:{llasas[kind]}", voice=None, seeds=(0,), keep=None, device="cpu")
    assert system.about["layer_types"] == {"published": "AAAA", "converted": "AMAM"}[kind]
    adapter = system.adapter
    assert len(system.about["weights_sha256"]) == 16
    shown = adapter._text.convert_ids_to_tokens(adapter.prompt_ids("Hello there.", [3, 5]))
    assert " ".join(shown) == (
        "<|user|> Convert the text to speech : <|TEXT_UNDERSTANDING_START|> Hello there . <|TEXT_UNDERSTANDING_END|> <|end|> "
        "<|assistant|> <|SPEECH_GENERATION_START|> <|s_3|> <|s_5|>"
    )
    first, again, other = (system(LINE, seed) for seed in (1, 1, 2))
    assert first.sample_rate == 16000 and len(first.samples) % 320 == 0
    assert np.array_equal(first.samples, again.samples) and not np.array_equal(first.samples, other.samples)
    wave = reference(tmp_path / "p.wav", seconds=0.3, rate=16000)
    torch.manual_seed(0)
    spoken = adapter.speak("Hello.", wave, "What I say")
    torch.manual_seed(0)
    tokens = adapter.generate("What I say Hello.", FakeCodec().encode(torch.from_numpy(mamtra_wave(wave))))
    assert np.array_equal(spoken, FakeCodec().decode(tokens).numpy())
    with pytest.raises(MamTraError, match="60 that Llasa can take"):
        adapter.speak("Hello." * 200, None, None)


def mamtra_wave(path):
    from mamtra.audio.io import read_audio

    return read_audio(path, 16000)[0]


def test_the_step_by_step_answer_is_that_of_one_pass(llasas, codec, monkeypatch):
    """Each drawn token is the likeliest one after everything before it, seen by a pass without a state."""
    adapter = open_adapter(f"llasa:{llasas['converted']}", AdapterOptions(device="cpu"))
    drawn = []

    def best(p, count):
        drawn.append(int(p.argmax()))
        return torch.tensor([drawn[-1]])

    monkeypatch.setattr(torch, "multinomial", best)
    adapter.generate("Hello there.")
    ids = [*adapter.prompt_ids("Hello there."), *drawn]
    with torch.inference_mode():
        logits = adapter._lm.logits(adapter._lm(adapter._lm.embed(torch.tensor([ids[:-1]]))))[0]
    assert len(drawn) > 10 and logits[-len(drawn) :].argmax(-1).tolist() == drawn


def test_what_is_no_llasa(llasas, codec, tmp_path):
    plain = huggingface_directory(tmp_path / "plain", "llama")
    with pytest.raises(MamTraError, match=r"has no tokenizer of Llasa|is no Llasa"):
        open_adapter(f"llasa:{plain}", AdapterOptions(device="cpu"))


def test_xcodec2_by_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    if not hasattr(transformers, "Xcodec2Model"):
        pytest.skip("this transformers has no X-codec2")
    semantic = {"model_type": "wav2vec2-bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                "intermediate_size": 16, "feature_projection_input_dim": 160}  # fmt: skip
    config = transformers.Xcodec2Config(
        hidden_size=64, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, head_dim=32,
        encoder_hidden_size=2, quantization_dim=80, semantic_model_config=semantic,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.Xcodec2Model(config).save_pretrained(tmp_path)
    codec = xcodec2.open_codec(str(tmp_path), torch.device("cpu"))
    assert codec.decode(list(range(25))).shape == (8000,)
    if importlib.util.find_spec("torchaudio") is None:  # reads prompts
        with pytest.raises(MamTraError, match="Encoding a prompt by X-codec2 needs torchaudio"):
            codec.encode(torch.from_numpy(TONE))
        return
    transformers.Xcodec2FeatureExtractor().save_pretrained(tmp_path)
    tokens = codec.encode(torch.from_numpy(TONE))
    assert len(tokens) == 25 and all(0 <= token < 65536 for token in tokens)


def test_xcodec2_by_its_own_package(monkeypatch):
    with pytest.raises(MamTraError, match="X-codec2 by its own package needs xcodec2; pip install xcodec2"):
        xcodec2.open_codec("xcodec2:some/name", torch.device("cpu"))

    class Model(torch.nn.Module):
        @classmethod
        def from_pretrained(cls, name):
            assert name == "some/name"
            return cls()

        def encode_code(self, input_waveform):
            return torch.arange(input_waveform.shape[1] // 320)[None, None]

        def decode_code(self, codes):
            return codes.float().repeat_interleave(320, dim=2)

    module = types.ModuleType("xcodec2.modeling_xcodec2")
    module.XCodec2Model = Model
    monkeypatch.setitem(sys.modules, "xcodec2", types.ModuleType("xcodec2"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    codec = xcodec2.open_codec("xcodec2:some/name", torch.device("cpu"))
    assert codec.encode(torch.zeros(8000)) == list(range(25)) and codec.decode([1, 2]).shape == (640,)


def test_a_codec_that_cannot_be_loaded(tmp_path):
    with pytest.raises(MamTraError, match=r"X-codec2 .* (cannot be loaded|needs transformers|has no X-codec2)"):
        xcodec2.open_codec(str(tmp_path), torch.device("cpu"))


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\nSAMPLE_RATE = 8000\n"
        "def speak(text, prompt_wav, prompt_text):\n    return np.full(len(text), 0.25) if text else []\n"
    )
    system = open_system(str(path), voice=None, seeds=(0,), keep=tmp_path / "kept", device=None)
    spoken = system(LINE)
    assert spoken.samples.tolist() == [0.25] * 12 and spoken.samples.dtype == np.float32 and spoken.sample_rate == 8000
    assert system.about["system"] == "mine" and (tmp_path / "kept" / "a.wav").is_file()
    assert system(Line("b", "", "")) is None
    path.write_text("SAMPLE_RATE = 8000\ndef speak(*_):\n    return 1 / 0\n")
    with pytest.raises(SystemFailure, match="mine failed at a: ZeroDivisionError: division by zero"):
        open_system(str(path), voice=None, seeds=(0,), keep=None, device=None)(LINE)
    for text, message in (
        ("SAMPLE_RATE = 8000", "should have SAMPLE_RATE"),
        ("SAMPLE_RATE = '8'\ndef speak(*_): return []", "should have SAMPLE_RATE"),
        ("1 / 0", "cannot be run: ZeroDivisionError"),
    ):
        path.write_text(text)
        with pytest.raises(MamTraError, match=message):
            open_adapter(str(path), AdapterOptions())


@pytest.mark.parametrize("samples", [np.zeros((2, 3)), np.array([np.nan]), np.float32(1)])
def test_samples_that_are_none(samples):
    adapter = types.SimpleNamespace(about={"system": "odd"}, sample_rate=8000, speak=lambda *_: samples)
    with pytest.raises(MamTraError, match=r"odd gave samples of shape .* for a; they should be one finite row"):
        Adapted(adapter)(LINE)
