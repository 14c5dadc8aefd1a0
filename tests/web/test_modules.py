"""The page's modules against those of the package that they are the counterpart of, in node."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from mamtra.audio.time_stretch import Stretcher
from mamtra.audio.trim import EdgeTrimmer
from mamtra.checkpoints.find import FAST, find_model
from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.checkpoints.model_files import find_beside
from mamtra.light.pulse_source import PulseSource
from mamtra.light.random import Generator, normal_rows
from mamtra.light.sampler import bar, nucleus, ras_sample
from mamtra.light.sine_source import SineSource
from mamtra.synthesis.coverage import misread
from mamtra.synthesis.repeated_words import set_apart
from mamtra.text.english.letter_to_sound import LetterToSound
from mamtra.text.english.spelt_words import letter_ids
from tests.web.node import node_needed, run

pytestmark = node_needed


def test_random_numbers():
    found = run(
        """
        const { Generator, normalColumns } = await use("random.js");
        const one = new Generator(given.seed), other = new Generator(7);
        return [one.exponential(700), one.normal(40), other.normal(3), normalColumns(0, 5, 80, 33)];
        """,
        seed=2**32 + 5,
    )
    one, other = Generator(5), Generator(7)
    expected = [one.exponential(700), one.normal(40), other.normal(3), normal_rows(0, 5, 80, 33).T.reshape(-1)]
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=2e-6)


def test_draws_of_the_sampler():
    config = GenerationConfig(top_p=0.6, win_size=4, most_repeats=2, most_silence=3, silent_tokens=(1, 2))
    logits = np.random.default_rng(0).normal(0, 3, (60, 50)).astype(np.float32)
    logits[7] = 0  # all alike
    found = run(
        """
        const { bar, nucleus, rasSample } = await use("sampler.js"), { Generator } = await use("random.js");
        const history = [], generator = new Generator(3), nuclei = [];
        for (const row of given.logits.map(floats)) {
          bar(row, history, given.config);
          nuclei.push(nucleus(row, given.config.top_p, given.config.top_k).ids);
          history.push(rasSample(row, history, generator, given.config));
        }
        return { history, nuclei };
        """,
        logits=logits,
        config=config.model_dump(mode="json"),
    )
    history, nuclei, generator = [], [], Generator(3)
    for row in logits:
        bar(row, history, config)
        nuclei.append(nucleus(row, config.top_p, config.top_k)[1].tolist())
        history.append(ras_sample(row, history, generator, config))
    assert found == {"history": history, "nuclei": nuclei}


def test_repeated_words_are_set_apart():
    rng = np.random.default_rng(2)
    texts = [
        [],
        [20, 21, 22, 14] * 3 + [20, 21, 22, 4],
        *(rng.choice([3, 14, 14, 20, 21], 60).tolist() for _ in range(9)),
    ]
    found = run(
        'const { setApart } = await use("repeated_words.js"); return given.texts.map(ids => setApart(ids, [12, 13, 14]));',
        texts=texts,
    )
    expected = [set_apart(ids, (12, 13, 14)) for ids in texts]
    assert found == [{"ids": read.ids, "own": read.own} for read in expected] and 12 in expected[1].ids


@pytest.mark.parametrize("pace", [None, (1.45, -3.2)])
@pytest.mark.parametrize("ended", [False, True])
def test_what_a_run_left_out_or_said_twice(ended, pace):
    rng = np.random.default_rng(1)
    tables = [rng.dirichlet(np.full(ids, 0.02), tokens) for tokens, ids in ((9, 5), (40, 12), (30, 40))]
    tables.append(np.eye(14)[[*range(14), *range(2, 14)]])  # all of it, and most of it again
    found = run(
        """
        const { misread } = await use("coverage.js");
        return given.tables.map(rows => misread(rows.map(floats), given.ended, given.pace));
        """,
        tables=tables,
        ended=ended,
        pace=pace,
    )
    expected = [misread(table.astype(np.float32), pace, ended=ended) for table in tables]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (expected[-1] > 0 and (min(expected) == 0 or pace)) or not ended


@pytest.mark.parametrize("speed", [1.0, 0.7, 1.6])
def test_mel_at_another_speed(speed):
    mel = np.random.default_rng(2).normal(size=(31, 4)).astype(np.float32)
    found = run(
        """
        const { Stretcher } = await use("stretch.js"), stretch = new Stretcher(given.speed, 4);
        return given.parts.map((part, i) => stretch.push(floats(part.flat()), i === given.parts.length - 1));
        """,
        parts=[mel[:5], mel[5:6], mel[6:20], mel[20:]],
        speed=speed,
    )
    stretch = Stretcher(speed)
    parts = [mel[:5], mel[5:6], mel[6:20], mel[20:]]
    for place, (part, got) in enumerate(zip(parts, found, strict=True)):
        expected = stretch.push(part.T, place == 3).T
        np.testing.assert_allclose(np.reshape(got, (-1, 4)), expected, atol=1e-5)


@pytest.mark.parametrize("pause", [0.0, 0.25])
def test_edges(pause):
    rng = np.random.default_rng(3)
    samples = np.concatenate(
        [
            rng.normal(0, level, count)
            for level, count in ((1e-5, 5000), (0.2, 7000), (1e-4, 3000), (0.1, 900), (0, 4000))
        ]
    ).astype(np.float32)
    parts = np.split(samples, [1000, 6100, 13000, 15500])
    found = run(
        """
        const { EdgeTrimmer } = await use("trim.js"), edges = new EdgeTrimmer(24000, given.pause);
        return given.parts.map((part, i) => edges.push(floats(part), i === given.parts.length - 1));
        """,
        parts=parts,
        pause=pause,
    )
    edges = EdgeTrimmer(24000, pause)
    for place, (part, got) in enumerate(zip(parts, found, strict=True)):
        np.testing.assert_allclose(got, edges.push(part, place == 4), atol=1e-7)


def test_excitation_block_by_block():
    config = {"upsample_rates": [4, 2], "istft_hop": 3, "sampling_rate": 24000, "nsf_alpha": 0.1, "nsf_sigma": 0.003}
    config["nsf_voiced_threshold"] = 10.0
    rng = np.random.default_rng(4)
    weight, bias = rng.normal(size=(1, 9)).astype(np.float32), np.array([0.1], np.float32)
    source = SineSource(config, weight, bias)
    f0 = np.where(rng.random(20) < 0.7, rng.uniform(80, 300, 20), 0).astype(np.float32)
    noise = rng.normal(size=20 * source.hop).astype(np.float32)
    cut = 12 * source.hop
    found = run(
        """
        const { SineSource } = await use("sine_source.js");
        const source = new SineSource(given.config, floats(given.weight[0]), given.bias[0]);
        const f0 = floats(given.f0), noise = floats(given.noise), phase = source.phaseAfter(f0.subarray(0, 12), null);
        const [whole, rest] = [source.excite(f0, noise, null), source.excite(f0.subarray(12), noise.subarray(given.cut), phase)];
        return [whole[0], phase, rest[0], source.phaseAfter(f0.subarray(12), phase)];
        """,
        config=config, weight=weight, bias=bias, f0=f0, noise=noise, cut=cut,
    )  # fmt: skip
    phase = source.phase_after(f0[:12])
    expected = [source(f0, noise), phase, source(f0[12:], noise[cut:], phase), source.phase_after(f0[12:], phase)]
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, wanted.reshape(-1), atol=2e-5)


def test_pulses_block_by_block():
    config = {"hop": 480, "sampling_rate": 24000, "highest_harmonic": 11500.0, "voiced_threshold": 45.0}
    rng, source = np.random.default_rng(4), PulseSource(config)
    f0 = np.where(rng.random(20) < 0.7, rng.uniform(80, 300, 20), 0).astype(np.float32)
    noise = rng.normal(size=20 * source.hop).astype(np.float32)
    cut = 12 * source.hop
    found = run(
        """
        const { PulseSource } = await use("pulse_source.js");
        const source = new PulseSource(given.config), f0 = floats(given.f0), noise = floats(given.noise);
        const phase = source.phaseAfter(f0.subarray(0, 12), null);
        const [whole, rest] = [source.excite(f0, noise, null), source.excite(f0.subarray(12), noise.subarray(given.cut), phase)];
        return [...whole, phase, ...rest, source.phaseAfter(f0.subarray(12), phase)];
        """,
        config=config, f0=f0, noise=noise, cut=cut,
    )  # fmt: skip
    phase = source.phase_after(f0[:12])
    rest = source(f0[12:], noise[cut:], phase)
    for got, wanted in zip(found, [*source(f0, noise), phase, *rest, source.phase_after(f0[12:], phase)], strict=True):
        np.testing.assert_allclose(got, wanted, atol=0.1)  # of pulses of 100, which are steep


def test_stored_weights(tmp_path):
    rng = np.random.default_rng(5)
    arrays = {
        "whole": rng.integers(-9, 9, (3, 2)).astype(np.int8),
        "whole.scale": rng.random(3).astype(np.float16),
        "half": rng.normal(size=(2, 3)).astype(np.float16),
        "ids": np.array([1, 2**40, -3]),
        "few": np.array([5, -6], np.int16),
        "single": rng.normal(size=(2, 2)).astype(np.float32),
        "none": np.zeros(0, np.int64),
    }
    save_file(arrays, tmp_path / "a.safetensors")
    found = run(
        """
        const { Tensors } = await use("tensors.js"), stored = new Tensors(read(given.path));
        return Object.fromEntries(given.names.map(name => [name, stored.values(name)]));
        """,
        path=str(tmp_path / "a.safetensors"),
        names=list(arrays),
    )
    scaled = arrays["whole"].astype(np.float32) * arrays["whole.scale"].astype(np.float32)[:, None]
    for name, wanted in {**arrays, "whole": scaled}.items():
        np.testing.assert_allclose(found[name], wanted.reshape(-1), rtol=1e-6)


def test_letters_to_sounds():
    path = find_beside(find_model(FAST), "letter_to_sound.safetensors")
    words = [letter_ids(word) for word in ("zyxgrobbler", "a", "mamtra", "quizzaciously", "pneumothoraxes")]
    found = run(
        """
        const { LetterToSound } = await use("letter_to_sound.js"), { Tensors } = await use("tensors.js");
        const network = new LetterToSound(new Tensors(read(given.path)));
        return given.words.map(word => [network.scores(word), network.classes(word)]);
        """,
        path=str(path),
        words=words,
    )
    ours = LetterToSound.load(path)
    for word, (scores, classes) in zip(words, found, strict=True):
        expected = ours.scores(word)
        np.testing.assert_allclose(np.reshape(scores, expected.shape), expected, atol=1e-3)
        assert classes == expected.argmax(-1).tolist()


@pytest.mark.parametrize(
    ("speed", "error", "fails", "taken"),
    [(0.5, 0.0, False, "other"), (2.0, 0.0, False, "plain"), (0.5, 0.2, False, "plain"), (0.5, 0.0, True, "plain")],
)
def test_a_graphics_card_is_used_where_it_gives_the_same_sooner(speed, error, fails, taken):
    found = run(
        """
        const { faster } = await use("faster.js"), released = [];
        console.warn = () => {};
        let now = 0;
        const session = name => ({ name, release: () => released.push(name) });
        const samples = async ({ name }, frames) => {
          now += frames * (name === "other" ? given.speed : 1);
          if (given.fails && name === "other") throw new Error("lost");
          return Float32Array.from({ length: frames }, (_, i) => Math.sin(i) * (name === "other" ? 1 + given.error : 1));
        };
        return [(await faster(session("plain"), async () => session("other"), samples, () => now)).name, released];
        """,
        speed=speed,
        error=error,
        fails=fails,
    )
    assert found == [taken, ["other" if taken == "plain" else "plain"]]
