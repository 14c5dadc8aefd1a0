"""A folder in the format of the original's vectors, of other sizes and computed by this package: no test may know a size.

It shows nothing about the original. `tests.parity.test_other_sizes` runs the tests of the vectors on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

import mamtra
from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.acoustic.flow_matching import cosine_schedule, fixed_noise
from mamtra.acoustic.hift import HiFT, HiFTConfig
from mamtra.acoustic.masks import valid_positions
from mamtra.audio.features import kaldi_fbank_80, mel_24k, slaney_filterbank, whisper_log_mel_128
from mamtra.audio.sinc_resample import sinc_resample
from mamtra.distill.losses import cross_entropy
from mamtra.encoders.campplus import CAMPPlus, CAMPPlusConfig
from mamtra.engine.reference import generate, generate_bistream
from mamtra.engine.sampling import greedy, nucleus, ras_sample
from mamtra.models.config import SpeechLMConfig
from mamtra.models.layout import IGNORE, PAD, bistream, fits_bistream, unistream
from mamtra.models.sampling_config import RASConfig
from mamtra.models.speech_lm import SpeechLM
from mamtra.synthesis.original_stream import OriginalStream
from mamtra.synthesis.token2wav import tokens_to_samples
from tests.foreign import cosyvoice_directory
from tests.parity.fixture import integers, normal, seeded
from tests.vectors import Vectors

TOKENS, WORDS, MIX = 43, 90, (4, 11)
LM = SpeechLMConfig(
    hidden_size=40, intermediate_size=56, num_hidden_layers=6, num_attention_heads=5, num_key_value_heads=1, head_dim=8,
    text_vocab_size=WORDS, num_speech_tokens=TOKENS, speech_vocab_size=TOKENS + 3, eos_id=TOKENS, fill_id=TOKENS + 2,
    mix_ratio=MIX,
)  # fmt: skip
FLOW = FlowConfig(
    vocab_size=TOKENS, spk_embed_dim=20, input_size=24, encoder_heads=3, encoder_ffn=40, encoder_blocks=1, encoder_up_blocks=2,
    estimator_channels=24, estimator_heads=3, estimator_head_dim=8, estimator_n_blocks=1, estimator_mid_blocks=1, chunk_size=10,
)  # fmt: skip
VOCODER = HiFTConfig(base_channels=24, f0_channels=12, nb_harmonics=4)
SAMPLING = RASConfig(top_p=0.7, top_k=9, win_size=6, tau_r=0.2)
SPEAKER = CAMPPlusConfig(growth_rate=8, init_channels=16, embedding_size=20)
FLOWS = {  # streaming, finalize, chunk size
    "full": (False, True, 10),
    "stream_finalize": (True, True, 10),
    "stream_lookahead": (True, False, 10),
    "stream_chunk4_lookahead": (True, False, 4),
    "nostream_lookahead": (False, False, 10),
}
Group = tuple[str, dict[str, Tensor]]


def write(root: Path) -> None:
    """Fill an empty folder."""
    name = "other-sizes"
    _write_directory(root / name)
    sizes = {"lm": {"h": LM.hidden_size, "layers": LM.num_hidden_layers, "vocab": WORDS},
             "cam": {"growth": SPEAKER.growth_rate, "init": SPEAKER.init_channels}}  # fmt: skip
    index = {"name": name, "config": sizes, "groups": {}}
    (root / "index.json").write_text(json.dumps(index))
    found = Vectors(root)
    with torch.no_grad():
        for make in (_training, _generation, _sampling, _flow, _vocoder, _features, _speaker, _whole):
            for group, tensors in make(found):
                save_file(
                    {key: value.contiguous().clone() for key, value in tensors.items()}, root / f"{group}.safetensors"
                )
                index["groups"][group] = {
                    "tensors": {key: {"shape": list(value.shape)} for key, value in tensors.items()}
                }
    digest = hashlib.sha256(fixed_noise(FLOW.output_size).numpy().tobytes()).hexdigest()
    index["groups"]["flow_noise"]["sha256_of_full_buffer_float32_le"] = digest
    front, text = mamtra.load(root / name).model.text, "ten more notes.<|endofprompt|>"
    ids = front.encode(text)
    index["tokenizer"] = {
        "len_tokenizer": front.vocab_size,
        "cases": [{"text": text, "ids": ids, "decoded": front.decode(ids)}],
    }
    (root / "index.json").write_text(json.dumps(index))
    _write_decisions(root)


def _write_directory(directory: Path) -> None:
    cosyvoice_directory(directory, lm=LM, flow=FLOW, vocoder=VOCODER, prompt=17)
    path = directory / "cosyvoice2.yaml"
    said = path.read_text().replace("chunk_size: 25", f"chunk_size: {FLOW.chunk_size}")
    sampling = SAMPLING.model_dump()
    said = said.replace(
        "        top_p: 0.75\n        top_k: 24\n", "".join(f"        {k}: {v}\n" for k, v in sampling.items())
    )
    path.write_text(said.replace("    sampling:", f"    mix_ratio: {list(MIX)}\n    sampling:", 1))
    lm = seeded(SpeechLM(LM), "other lm")
    lm.llm_decoder.bias.data[TOKENS + 1 :] = -20  # the spare id and fill would end a generation
    state = {f"llm.model.{key}" if key.startswith("model.") else key: value for key, value in lm.state_dict().items()}
    torch.save({**state, "llm.model.lm_head.weight": state["llm.model.model.embed_tokens.weight"], "epoch": 1, "step": 2},
               directory / "llm.pt")  # fmt: skip
    torch.save(seeded(Flow(FLOW), "other flow").state_dict(), directory / "flow.pt")
    vocoder = seeded(HiFT(VOCODER), "other vocoder").state_dict()
    vocoder["f0_predictor.classifier.bias"] += 180  # voiced
    vocoder["conv_post.parametrizations.weight.original0"] *= 0.3  # not clipped
    vocoder["conv_post.bias"][: VOCODER.istft_n_fft // 2 + 1] -= 3
    torch.save({f"generator.{key}": value for key, value in vocoder.items()}, directory / "hift.pt")


def _padded(rows: list[Tensor], value: int = 0) -> Tensor:
    return pad_sequence(rows, batch_first=True, padding_value=value)


def _training(vectors: Vectors) -> Iterator[Group]:
    lm = vectors.lm()
    for kind, lengths in (("unistream", ((9, 25), (6, 13))), ("bistream", ((9, 30), (8, 27), (7, 24), (6, 15)))):
        pairs = [(integers(f"text {n}", WORDS, n), integers(f"speech {m}", TOKENS, m)) for n, m in lengths]
        mixed = [kind == "bistream" and fits_bistream(n, m, MIX) for n, m in lengths]
        laid = [
            bistream([text], [speech], **vectors.layout) if inside else unistream([text], [speech], eos_id=LM.eos_id)
            for inside, (text, speech) in zip(mixed, pairs, strict=True)
        ]
        kinds, ids = _padded([each.kind[0] for each in laid], PAD), _padded([each.ids[0] for each in laid], -1)
        target = _padded([each.targets[0] for each in laid], IGNORE)
        hidden = lm(lm.embed(kinds, ids))
        logits, rows = lm.logits(hidden), target != IGNORE
        chosen = logits[rows].log_softmax(-1).gather(1, target[rows, None])[:, 0]
        yield f"lm_train_{kind}", {
            "text_token": _padded([text for text, _ in pairs]), "text_token_len": torch.tensor([n for n, _ in lengths]),
            "speech_token": _padded([speech for _, speech in pairs]), "speech_token_len": torch.tensor([m for _, m in lengths]),
            "input_kind": kinds, "input_id": ids, "input_len": torch.tensor([int(each.lengths[0]) for each in laid]),
            "target": target, "logits": logits[rows], "hidden": hidden[rows], "argmax": logits[rows].argmax(-1),
            "target_logprob": chosen, "target_pos": rows.nonzero(),
            "acc": (logits[rows].argmax(-1) == target[rows]).float().mean()[None], "loss": cross_entropy(logits, target)[None],
        }  # fmt: skip


def _generation(vectors: Vectors) -> Iterator[Group]:
    lm, rows, lengths = vectors.lm(), [], []
    text, before, speech = (
        integers("said", WORDS, 1, 13),
        integers("before", WORDS, 1, 7),
        integers("heard", TOKENS, 1, 22),
    )
    prompt = {"text": text, "prompt_text": before, "prompt_speech_token": speech}

    def record(row: Tensor, history: list[int], _: torch.Generator | None = None) -> int:
        rows.append(row.clone())
        return greedy(row, history)

    best = list(islice(generate(lm, text, before, speech, sampler=record), 24))
    top = torch.stack(rows).topk(8)
    yield "lm_zero_shot_greedy", {
        **prompt, "prefill_logits": rows[0], "greedy_tokens": torch.tensor(best), "step_logits_top8": top.values,
        "step_logits_top8_ids": top.indices, "step_logits_last": rows[-1],
    }  # fmt: skip

    def drawn(row: Tensor, history: list[int], generator: torch.Generator | None) -> int:
        return ras_sample(row, history, generator, config=SAMPLING)

    run = generate(lm, text, before, speech, generator=torch.Generator().manual_seed(77), sampler=drawn)
    yield "lm_zero_shot_ras", {**prompt, "tokens": torch.tensor(list(islice(run, 24))), "seed": torch.tensor([77])}

    short = {"text": text[:, :4], "prompt_text": before[:, :3], "prompt_speech_token": speech[:, :5]}
    rows.clear()
    made = {"no_prompt_tokens": list(islice(generate(lm, short["text"], sampler=record), 8))}
    first = rows[0]
    for name, row, bias in (("eos_plus100", 0, 100), ("eos_minus100", 0, -100), (f"{TOKENS + 1}_plus100", 1, 100)):
        lm.llm_decoder.bias[LM.eos_id + row] += bias
        made[f"tokens_bias_{name}"] = list(generate(lm, *short.values(), sampler=greedy))
        lm.llm_decoder.bias[LM.eos_id + row] -= bias
    tokens = {name: torch.tensor(found) for name, found in made.items()}
    yield "lm_length_rules", {**short, **tokens, "no_prompt_prefill_logits": first}

    lm.model.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
    arriving = {**prompt, "text": integers("arriving", WORDS, 1, 19)}
    for name, given in (("", (before, speech)), ("noprompt_", ())):
        lengths.clear()
        run = generate_bistream(
            lm, arriving["text"][0].tolist(), *given, sampler=lambda row, *_: int(row[:TOKENS].argmax())
        )
        arriving |= {
            f"{name}tokens": torch.tensor(list(islice(run, 65))),
            f"{name}input_lengths": torch.tensor(lengths),
        }
    yield "lm_bistream_infer", arriving


def _sampling(_: Vectors) -> Iterator[Group]:
    logits = torch.stack([scale * normal(f"scores {scale}", TOKENS + 3) for scale in (1, 2, 6)])
    tensors = {"logits": logits}
    for i, row in enumerate(logits):
        p, ids = nucleus(torch.log_softmax(row, -1), SAMPLING.top_p, SAMPLING.top_k)
        tensors |= {f"nucleus_ids_{i}": ids, f"nucleus_probs_{i}": p}
    yield "ras_sampling", tensors


def _write_decisions(root: Path) -> None:
    logits, cases = Vectors(root)["ras_sampling"]["logits"], []
    for i, row in enumerate(torch.log_softmax(logits, -1)):
        likely = row.topk(4).indices.tolist()
        for history in ([], likely, [*likely, *range(SAMPLING.win_size)]):
            for seed in range(4):
                token = ras_sample(row.clone(), history, torch.Generator().manual_seed(seed), config=SAMPLING)
                cases.append({"logits": i, "history": history, "seed": seed, "token": token})
    (root / "ras_cases.json").write_text(json.dumps({"params": SAMPLING.model_dump(), "cases": cases}))


def _voice() -> dict[str, Tensor]:
    return {"prompt_token": integers("flow prompt", TOKENS, 1, 13), "prompt_feat": normal("flow mel", 1, 26, 80) - 5,
            "embedding": normal("flow speaker", 1, FLOW.spk_embed_dim)}  # fmt: skip


def _flow(vectors: Vectors) -> Iterator[Group]:
    yield "flow_noise", {"noise_head": fixed_noise(FLOW.output_size)[:, :, :300]}
    given = {"token": integers("flow token", TOKENS, 1, 17), **_voice()}
    for name, (streaming, finalize, chunk) in FLOWS.items():
        model = vectors.flow(chunk)
        tokens = torch.cat([given["prompt_token"], given["token"]], dim=1)
        embedded, context, ahead = model.input_embedding(tokens), None, FLOW.pre_lookahead_len
        if not finalize:
            embedded, context = embedded[:, :-ahead], embedded[:, -ahead:]
        hidden = model.encoder(embedded, None, context, chunk if streaming else 0)
        tensors = {**given, "mel": model.inference(*given.values(), streaming=streaming, finalize=finalize), "encoder_out": hidden,
                   "mu": model.encoder_proj(hidden), "spk": model.speaker(given["embedding"])}  # fmt: skip
        yield f"flow_{name}", tensors if name != "full" else tensors | _inside(model, tensors)
    model, lengths = vectors.flow(), torch.tensor([17, 12])
    token, valid = integers("rows", TOKENS, 2, 17), valid_positions(2 * lengths, 34)
    embedded = model.input_embedding(token) * valid_positions(lengths, 17)[:, :, None]
    x, mu, cond = (normal(f"rows {name}", 2, 80, 34) for name in ("x", "mu", "cond"))
    t, spks = torch.tensor([0.2, 0.6]), normal("rows speaker", 2, 80)
    encoded = {f"encoder_out{suffix}": model.encoder(embedded, lengths, chunk=chunk, clean_padding=False)
               for suffix, chunk in (("", 0), ("_stream", FLOW.chunk_size))}  # fmt: skip
    called = {f"est_out{suffix}": model.decoder.estimator(x, valid, mu, t, spks, cond, chunk)
              for suffix, chunk in (("", 0), ("_stream12", 12))}  # fmt: skip
    yield "flow_padded_batch", {"token": token, "token_len": lengths, "x": x, "mask": valid[:, None].float(), "mu": mu, "t": t,
                                "spks": spks, "cond": cond, **encoded, **called}  # fmt: skip


def _inside(model: Flow, given: dict[str, Tensor]) -> dict[str, Tensor]:
    mu, speaker = given["mu"], given["spk"]
    found = {"est_t": cosine_schedule(torch.linspace(0, 1, 11))[:10], "est0_mask": torch.ones(2, 1, mu.shape[1])}
    twice = {
        "mu": mu.transpose(1, 2).repeat(2, 1, 1),
        "spks": speaker.repeat(2, 1),
        "cond": normal("cond", 2, 80, mu.shape[1]),
    }
    found |= {f"est0_{name}": value for name, value in twice.items()}
    for step, t in (("est0", 0.0), ("est3", 0.3)):
        x, times = normal(step, 2, 80, mu.shape[1]), torch.full((2,), t)
        out = model.decoder.estimator(x, None, twice["mu"], times, twice["spks"], twice["cond"])
        found |= {f"{step}_x": x, f"{step}_t": times, f"{step}_out": out}
    return found


def _vocoder(vectors: Vectors) -> Iterator[Group]:
    model, frames = vectors.vocoder(), 21
    samples = frames * VOCODER.hop
    mel, noise = normal("mel", 1, 80, frames) - 4, normal("noise", 1, samples, VOCODER.nb_harmonics + 1)
    silent, f0 = torch.zeros_like(noise), model.predict_f0(mel)
    cache = 0.1 * normal("cache", 1, 1, 5 * VOCODER.hop)
    source, joined = model.source(f0, noise), model.synthesize(mel, source_cache=cache, noise=silent)
    tensors = {"mel": mel, "noise": noise, "f0": f0, "source": source, "source_nonoise": model.source(f0, silent),
               "wav": model.decode(mel, source), "cache_source": cache, "source_cached": joined.source,
               "wav_cached": joined.wave, "wav_nonoise": model.inference(mel, noise=silent)}  # fmt: skip
    model.conv_post.bias[: VOCODER.istft_n_fft // 2 + 1] += 3.5
    yield "hift", {**tensors, "wav_loud": model.decode(mel, source)}


def _features(_: Vectors) -> Iterator[Group]:
    found = {"mel_filterbank_24k": slaney_filterbank(24000, 1920, 80, 8000.0, torch.device("cpu"))}
    for i, seconds in enumerate((0.4, 0.55)):
        for rate in (24000, 16000):
            found[f"wav{rate // 1000}k_{i}"] = 0.1 * normal(f"wave {rate}", 1, int(seconds * rate)).cumsum(1).sin()
        found[f"mel24k_{i}"] = mel_24k(found[f"wav24k_{i}"])
        found[f"whisper128_{i}"] = whisper_log_mel_128(found[f"wav16k_{i}"])
        found[f"fbank80_{i}"] = kaldi_fbank_80(found[f"wav16k_{i}"])[0]
    yield "features", found
    wave = 0.3 * normal("resampled", 1, 2000).clamp(-3, 3)
    made = {
        f"out_{a}_{b}": torch.from_numpy(sinc_resample(wave[0].numpy(), a, b))[None]
        for a, b in ((32000, 16000), (11025, 24000))
    }
    yield "resample", {"in_32000": wave, "in_11025": wave, **made}


def _speaker(_: Vectors) -> Iterator[Group]:
    model = seeded(CAMPPlus(SPEAKER), "other speaker")
    yield "campplus_weights", model.state_dict()
    found = {f"feat_{name}": normal(name, 1, frames, 80) for name, frames in (("x", 211), ("y", 64), ("z", 80))}
    embedded = {name.replace("feat", "emb"): model(feat) for name, feat in found.items()}
    yield "campplus", {**found, **embedded, "head_y": model.head(found["feat_y"].transpose(1, 2))}


def _whole(vectors: Vectors) -> Iterator[Group]:
    model = mamtra.load(vectors.directory).model
    voice = mamtra.load(vectors.directory).voice(next(iter(model.speakers)))
    silence = HiFT.noise
    HiFT.noise = lambda *_: lambda samples: torch.zeros(1, samples, 1)
    try:
        given = integers("token", TOKENS, 1, 31)
        tensors = {"token": given, "prompt_token": voice.prompt_speech[None], "prompt_feat": voice.prompt_mel[None],
                   "embedding": voice.embedding[None]}  # fmt: skip
        for speed in (1.0, 1.4):
            wave = tokens_to_samples(model, voice, given[0].tolist(), seed=0, speed=speed)
            tensors[f"wav_full_speed{speed}"] = torch.from_numpy(wave)[None]
        text = integers("whole text", WORDS, 1, 6)
        codes = list(generate(model.lm, text[0], *voice.lm_prompt, sampler=greedy))
        stream, pieces, rest = OriginalStream(model, voice, seed=0), [], codes
        while len(rest) >= (count := stream.wanted):
            pieces.append(torch.from_numpy(stream.push(rest[:count])))
            rest = rest[count:]
        pieces.append(torch.from_numpy(stream.push(rest, final=True)))
        whole = torch.from_numpy(tokens_to_samples(model, voice, codes, seed=0))
        yield "tts_end_to_end", {**tensors, "tts_text": text, "tts_tokens": torch.tensor(codes), "tts_wav": whole[None],
                                 "tts_stream_wav": torch.cat(pieces)[None],
                                 "tts_stream_chunk_samples": torch.tensor([len(piece) for piece in pieces])}  # fmt: skip
    finally:
        HiFT.noise = silence
