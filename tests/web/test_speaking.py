"""What the page computes, in node with onnxruntime-web and Pyodide, against the package."""

import json
import subprocess
import sys

import numpy as np
import pytest

from mamtra.checkpoints.find import FAST, find_model
from mamtra.light.export import GRAPHS
from mamtra.light.flow import LightFlow
from mamtra.light.graph import GraphBuilder
from mamtra.light.model import LightModel
from mamtra.light.speaking import start_run
from mamtra.light.vocoder import LightVocoderStream
from mamtra.light.weights import StoredWeights
from mamtra.synthesis.coverage import misread
from mamtra.synthesis.pipeline import Request
from mamtra.text.frontend import TextFrontend
from mamtra.voices.voice import Voice
from tests.text.test_readings import ROWS
from tests.web.node import node_needed, run

pytestmark = node_needed
TEXT = "It rained and rained and rained all night."
"""Of which the first run with seed 0 leaves an item out."""
_OPEN = """
const ort = await use("onnxruntime-web/ort.wasm.min.mjs");
ort.env.logLevel = "error";
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmBinary = read(`${folder}/onnxruntime-web/ort-wasm-simd-threaded.wasm`);
const about = JSON.parse(fs.readFileSync(`${folder}/site.json`));
const files = new Proxy({}, { get: (_, name) => read(given.graphs?.[name] ?? `${folder}/model/${name}`) });
const parts = new (await use("open.js")).Parts(ort, files, about);
const voice = (await use("voice.js")).readVoice("clara", files["voices/clara.safetensors"]);
"""


@pytest.fixture(scope="module")
def model():
    return LightModel(find_model(FAST), threads=1)


@pytest.fixture(scope="module")
def voice(site):
    return Voice.load(site / "model" / "voices" / "clara.safetensors", "numpy")


def test_tokens_of_a_seed(site, model, voice):
    """Of a run that leaves words out, and of the one that is kept: logits, draws and attention are the package's."""
    ids = model.text.segments(TEXT)[0].ids
    found = run(
        _OPEN
        + """
        const { Run, segmentTokens } = await use("run.js"), lm = await parts.lm(), kept = [];
        const first = new Run(lm, given.ids, voice, 0);
        for await (const _ of first);
        const request = { ids: given.ids, voice, seed: 0, index: 0, first: 1000 };
        for await (const each of segmentTokens(lm, request)) kept.push(each);
        return { tokens: first.tokens, reason: first.reason, lost: first.misread(true), kept };
        """,
        site,
        ids=ids,
    )
    request = Request(model, voice)
    expected = start_run(request, ids, 0)
    assert found["tokens"] == list(expected) and found["reason"] == expected.finish_reason
    assert (
        found["lost"] == pytest.approx(misread(expected.attention(), model.generation.pace), abs=1e-3)
        and found["lost"] > 0
    )
    (kept,) = found["kept"]
    assert kept["attempt"] > 0 and kept["reason"] == "eos"
    again = kept["attempt"]
    assert kept["tokens"] == list(start_run(request, request.reading(ids, again).ids, request.seed_of(0, again)))


def test_a_stream_gives_its_first_hop_and_then_token_by_token():
    """Over a stand-in for the language model, whose tokens are 0, 1, 2 and so on up to the end."""
    found = run(
        """
        const { segmentTokens } = await use("run.js");
        let next = 0;
        const run = async () => {
          const data = new Float32Array(11);
          data[next++] = 50;
          return { logits: { data } };
        };
        const lm = {
          config: { eos_id: 9, hidden_size: 1 }, head: null, states: [], session: { run }, ort: { Tensor: class {} },
          embed: (_, ids) => new Float32Array(ids.length),
          generation: { min_tokens: 0, min_ratio: 0, min_limit: 30, max_ratio: 1, top_p: .5, top_k: 5, win_size: 0, tau_r: .1 },
        };
        const kept = [], voice = { promptText: [], promptSpeech: [] };
        for await (const each of segmentTokens(lm, { ids: [1], voice, seed: 0, index: 0, first: 4 })) kept.push(each);
        return kept;
        """
    )
    assert [each["tokens"] for each in found] == [[0, 1, 2, 3], [4], [5], [6], [7], [8], []]
    assert found[-1]["reason"] == "eos"


@pytest.fixture(scope="module")
def float_graphs(site, tmp_path_factory):
    """The flow's graphs with weights unpacked to float32: int8 kernels round differently."""
    folder, config = tmp_path_factory.mktemp("graphs"), json.loads((site / "site.json").read_text())["config"]
    for name in ("flow_encoder", "flow_step"):
        graph = GraphBuilder(name, StoredWeights(site / "model" / "flow.safetensors"), "float")
        GRAPHS[name][2](graph, config["flow"])
        (folder / f"{name}.onnx").write_bytes(graph.finish())
    return {f"{name}.onnx": str(folder / f"{name}.onnx") for name in ("flow_encoder", "flow_step")}


def test_mel_and_samples_hop_by_hop(site, model, voice, float_graphs, tmp_path):
    voice = voice.renamed("clara", pitch=190, pitch_range=1.3)
    files = {**float_graphs, "voices/clara.safetensors": str(voice.save(tmp_path / "clara.safetensors"))}
    tokens = np.random.default_rng(1).integers(0, 6561, 40).tolist()
    flow = LightFlow(*model._stored("flow"), model.generation.flow_steps, free=True)
    stream = flow.stream(voice.prompt_speech, voice.prompt_mel, voice.embedding)
    stream.push([])
    wanted, hops = stream.wanted(20), (tokens[:23], tokens[23:])
    mel = np.concatenate([stream.push(hops[0]), stream.push(hops[1], final=True)], axis=1)
    code = """
        const { FlowStream } = await use("flow.js"), { VocoderStream } = await use("vocoder.js");
        const { joined } = await use("arrays.js");
        const sound = await parts.sound(), prompt = new FlowStream(sound.flow, voice);
        await prompt.push([]);
        const stream = prompt.fork(), wanted = stream.wanted(20);
        const mel = joined([await stream.push(given.hops[0]), await stream.push(given.hops[1], true)]);
        const vocoder = new VocoderStream(sound.vocoder, 5, voice.pitchRange), theirs = floats(given.mel);
        const samples = [await vocoder.push(theirs.slice(0, 3200)), await vocoder.push(theirs.slice(3200), true)];
        return { wanted, mel, samples };
        """
    found = run(_OPEN + code, site, hops=hops, mel=mel.T.reshape(-1), graphs=files)
    assert found["wanted"] == wanted
    np.testing.assert_allclose(np.reshape(found["mel"], (-1, 80)), mel.T, atol=2e-3)
    vocoder = LightVocoderStream(model.vocoder, 5, voice.pitch_range)
    for got, expected in zip(
        found["samples"], (vocoder.push(mel[:, :40]), vocoder.push(mel[:, 40:], True)), strict=True
    ):
        np.testing.assert_allclose(got, expected, atol=1e-3)
    rounded = run(_OPEN + code, site, hops=hops, mel=mel.T.reshape(-1))["mel"]
    assert 0 < np.abs(np.reshape(rounded, (-1, 80)) - mel.T).mean() < 0.15


def test_the_text_front_end_needs_no_library(site):
    """All it imports is the standard library of Python, of which Pyodide has enough."""
    code = f"""
import sys
sys.path[:0] = [{str(site / "text.zip")!r}]
from mamtra.web.text_in_page import Reading, open_reader
reading = Reading(open_reader({str(site / "model")!r}, lambda letters: [1], []), "One, two. [pause:1s] Three \\u4f60!")
for _ in range(3):
    print(reading.take())
print([name for name in sys.modules if name.partition(".")[0] in ("numpy", "pydantic", "torch", "tokenizers", "safetensors")])
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    *lines, libraries = done.stdout.splitlines()
    first, second, end = map(json.loads, lines)
    assert first["text"] == "One, two." and second["pause"] == 1.0 and "你" in end["left_out"] and libraries == "[]"


def test_text_ids_of_hundreds_of_sentences(site):
    """In Pyodide, with the network for unknown words in JavaScript."""
    front, written = (
        TextFrontend.load(find_model("mini")),
        [row.written for row in ROWS[:520] if any(map(str.isalnum, row.written))],
    )
    written += ["Zyxgrobbler met the quizzacious Mamtravox at Plonkerville."]
    found = run(
        """
        const { loadPyodide } = await use("pyodide/pyodide.mjs"), { Reader } = await use("text.js");
        const names = ["text.json", "tokenizer.json", "lexicon.txt.xz", "letter_to_sound.safetensors"];
        const files = Object.fromEntries(names.map(name => [name, read(`${folder}/model/${name}`)]));
        const reader = new Reader(await loadPyodide(), { ...files, "text.zip": read(`${folder}/text.zip`) });
        return given.written.map(text => {
          try { return [...reader.segments(text)].slice(0, -1).map(({ text, ids, pause }) => [text, ids, pause]); }
          catch (error) { return error.message; }
        });
        """,
        site,
        written=[*written, " ... ", "[pause:99999999s]"],
    )
    assert len(written) > 500
    for text, got in zip(written, found, strict=False):
        assert got == [[each.text, each.ids, each.pause_before] for each in front.segments(text)], text
    assert found[-2].startswith("There is nothing to say") and "pause" in found[-1]
