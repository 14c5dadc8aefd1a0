"""Case of a whole CosyVoice 2 directory: text ids, text to sound, the first hop of a stream, and its conversion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch

import mamtra
from mamtra.acoustic.flow import Flow
from mamtra.acoustic.flow_stream import FlowStream
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.checkpoints.native import load_part
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.engine.reference import generate
from mamtra.engine.sampling import greedy
from mamtra.engine.steps import sequence_step
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from mamtra.runtime.json_files import read_json
from tests.foreign import FLOW, LAYERS, cosyvoice_directory
from tests.parity.fixture import Output, integers, normal, seeded

VOCABULARY = 64
SAID = "Hello there, how are you today?"
TEXTS = (SAID, "It's 12:30 — the theatre…", "tö <|endofprompt|> [breath] 你好", "  two  spaces\nand a line\n\n")


def write(folder: Path) -> Path:
    """The directory that other tests use, with weights, voice and merges that depend on no generator of torch."""
    source = cosyvoice_directory(folder / "cosy")
    state = torch.load(source / "llm.pt", weights_only=True)
    sizes = open_language_model(source).config
    backbone = read_json(source / "CosyVoice-BlankEN" / "config.json") | {"vocab_size": VOCABULARY}
    (source / "CosyVoice-BlankEN" / "config.json").write_text(json.dumps(backbone))
    config = sizes.model_copy(update={"text_vocab_size": VOCABULARY})
    lm = seeded(SpeechLM(config), "directory lm").state_dict()
    state.update({f"llm.model.{name}" if name.startswith("model.") else name: value for name, value in lm.items()})
    torch.save({**state, "llm.model.lm_head.weight": state["llm.model.model.embed_tokens.weight"]}, source / "llm.pt")
    torch.save(seeded(Flow(FLOW), "directory flow").state_dict(), source / "flow.pt")
    vocoder = seeded(HiFT(HiFTConfig(base_channels=16, f0_channels=8)), "directory vocoder").state_dict()
    vocoder["f0_predictor.classifier.bias"] += 180  # voiced
    vocoder["conv_post.parametrizations.weight.original0"] *= 0.3  # not clipped
    vocoder["conv_post.bias"][:9] -= 3
    torch.save({f"generator.{name}": value for name, value in vocoder.items()}, source / "hift.pt")
    voice = {
        "embedding": normal("directory speaker", 1, 16),
        "prompt_text": integers("directory prompt text", 40, 1, 6),
        "flow_prompt_speech_token": integers("directory prompt speech", 27, 1, 12),
        "prompt_speech_feat": normal("directory prompt mel", 1, 24, 80) - 5,
    }
    torch.save({"ann": voice}, source / "spk2info.pt")
    merges = ["t h", "th e", "Ġ the", "e r", "l l", "Ġ a", "o u", "h e"]
    units = dict.fromkeys([*"etaoinshrdlucmfwyg.,?!Ġ", *(pair.replace(" ", "") for pair in merges)])
    (source / "CosyVoice-BlankEN" / "vocab.json").write_text(json.dumps({unit: i for i, unit in enumerate(units)}))
    (source / "CosyVoice-BlankEN" / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    return source


def directory(folder: Path) -> Iterator[Output]:
    source = write(folder)
    tts = mamtra.load(source)
    model, voice = tts.model, tts.voice("ann")
    for number, text in enumerate(TEXTS):
        yield Output(f"text ids/{number}", torch.tensor(model.text.encode(text)))
    ids = model.text.encode(SAID)
    run = generate(model.lm, ids, *voice.lm_prompt, sampler=greedy, step=sequence_step(model.lm))
    codes = torch.tensor([list(run)])
    yield Output("tokens", codes)
    prompt = (voice.prompt_speech[None], voice.prompt_mel[None], voice.embedding[None])
    with torch.no_grad():
        mel = model.flow.inference(codes, *prompt)
        yield Output("mel", mel, 2e-5)
        yield Output("wave", model.vocoder.inference(mel, noise=torch.zeros(1, mel.shape[-1] * 480, 1)), 5e-4)
        mel = FlowStream(model.flow, *prompt).push(integers("directory hop", 27, 1, 41))
        yield Output("first hop", mel, 2e-5)
    kind, place = torch.full((1, 20), 3), integers("directory speech", 27, 1, 20)
    lm = load_part(mamtra.convert(source, folder / "same", LayerPlan.from_ratio(LAYERS, "1:0")), "lm")
    with torch.no_grad():
        for each in (model.lm, lm):
            yield Output("logits", each.logits(each(each.embed(kind, place))), 1e-4)
    mamtra.convert(source, folder / "hybrid", LayerPlan.from_ratio(LAYERS, "1:1"))
    error = read_json(folder / "hybrid" / "provenance.json")["conversion"]["checks"][1]["relative_error"]
    yield Output("Eq. 4 holds", torch.tensor([error < 1e-5]))
