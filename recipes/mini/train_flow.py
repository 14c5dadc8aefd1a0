"""Train the flow: speech tokens, a speaker embedding and a prompt mel of the same voice to 80-bin mel (conditional flow matching).

    python train_flow.py --config mini.yaml --corpus DIR ... --tokens tokens.npz --speakers embeddings.npz --out flow.safetensors
        [--mel-speaker mel_speaker.safetensors] [--mel-reader mel_reader.safetensors]

Half of the steps use chunked attention, so that the same weights serve whole utterances and streaming. To know a speaker by the
prompt and not by the embedding alone is taught by longer prompts, rows without embedding and changes of the balance of all bands.
Speech tokens say something of their speaker too, but those of a language model are of the bulk voice, whoever is to say them: to
take the speaker from elsewhere is taught by rows that behind their prompt have the tokens of the same speech in another voice.
The error of the vector field says little of who speaks. With --mel-speaker some rows of every other batch are also made in a few
steps, and added to the loss is how far their speaker is from the wanted one. That needs no recording of this speaker, so that
some rows are made in voices between two speakers of the whole corpus, whoever's their tokens are: the flow has to know more voices
than it has heard. With --mel-reader these rows must say the tokens that they were made of, too.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from change_voices import families
from corpus import TOKEN_24, Corpus, crop, drawing_weights
from hearing import Hearing
from mel_reader import load_mel_reader
from mel_speaker import load_mel_speaker
from rounding import plain_names, round_weights
from soften import soften
from tokens import TokenSet
from torch import Tensor
from training import Captured, Optimiser, Run, command, digit_rows, resume, section

from mamtra.acoustic.flow import Flow, FlowConfig
from mamtra.audio.features import mel_24k
from mamtra.encoders.speech_tokenizer import SpeechTokenizerConfig

BENDS = 5
"""Cosines over the bands whose sum is the change of their balance."""


def balance(rows: int, mels: int, strength: float, device: torch.device) -> Tensor:
    """Smooth random changes (rows, mels) of a log-mel, of standard deviation `strength` in the level and less in each bend."""
    bend = torch.arange(BENDS, device=device)
    curves = torch.cos(math.pi * bend[:, None] * torch.linspace(0, 1, mels, device=device))
    return torch.randn(rows, BENDS, device=device) * (strength / (1 + bend / 2)) @ curves


def another(family: np.ndarray, rng: np.random.Generator) -> int:
    """The original of a family or, half of the time, any of it."""
    return int(family[0] if rng.random() < 0.5 else family[rng.integers(len(family))])


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument(
        "--speakers", type=Path, required=True, help="unit embeddings of a speaker encoder, one per row of the corpus"
    )
    parser.add_argument("--mel-speaker", type=Path, help="what train_mel_speaker.py wrote, for speaker_weight")
    parser.add_argument("--mel-reader", type=Path, help="what train_mel_reader.py wrote, for reading_weight")
    args = parser.parse_args(argv)
    config, device = section(args.config, "flow", args.changes), args.device
    torch.manual_seed(config["seed"])
    corpus = Corpus(args.corpus, device, ("audio24",))
    codes = torch.from_numpy(TokenSet.of_corpus(args.tokens, corpus.rows).speech.astype(np.int32)).to(device)
    embeddings = torch.from_numpy(np.load(args.speakers)["embeddings"].astype(np.float32)).to(device)
    flow = Flow(FlowConfig(**config["model"]))
    codebook = SpeechTokenizerConfig(**section(args.config, "tokenizer")["model"])
    with torch.no_grad():
        flow.input_embedding.weight.copy_(digit_rows(codebook, flow.config.input_size, 1.0, config["seed"]))
    flow.to(device)
    resume(flow, args.resume)
    if args.resume:
        some = codes[None, : config["crops"][0]].long()
        hard = soften(
            flow, lambda: flow.inference(some, some[:, :0], embeddings.new_zeros(1, 0, 80), embeddings[:1], steps=1)
        )
        if hard:
            print("made soft:", hard, flush=True)
    for weight, option, given in (
        ("speaker_weight", "--mel-speaker", args.mel_speaker),
        ("reading_weight", "--mel-reader", args.mel_reader),
    ):
        if bool(config[weight]) != bool(given):
            raise SystemExit(f"{weight} and {option} go together")
    hearing = None
    if args.mel_speaker or args.mel_reader:
        listener = load_mel_speaker(args.mel_speaker, device) if args.mel_speaker else None
        reader = load_mel_reader(args.mel_reader, codebook, device) if args.mel_reader else None
        hearing = Hearing(flow, config, embeddings, listener, reader)
    if config["storage"]:
        round_weights(flow, config["storage"])
    optimiser = Optimiser(flow, config["lr"], average=config["average"])

    def step_with(streaming: bool, tokens: int):
        def step(starts: Tensor, given: Tensor, lengths: Tensor, row: Tensor, others: Tensor) -> dict[str, Tensor]:
            """starts of sound and prompt, given of the tokens behind it, lengths, all (B,) in tokens; row (B,) and others (B, 2)
            of embeddings."""
            with torch.no_grad():
                wave = crop(corpus.audio24, starts * TOKEN_24, tokens * TOKEN_24).float() / 32768
                inside = torch.arange(wave.shape[1], device=device) < lengths[:, None] * TOKEN_24
                feat = mel_24k(wave * inside).transpose(1, 2)
                drawn = flow.sample_noise(2 * lengths, feat.shape[1])
                chance = torch.rand(4, len(row), device=device)
                low, high = config["prompt"]
                prompt = ((low + (high - low) * chance[0]) * 2 * lengths).long() * (chance[1] < config["prompted"])
                own = torch.arange(tokens, device=device) < prompt[:, None] // 2
                token = torch.where(own, crop(codes, starts, tokens), crop(codes, given, tokens)).long()
                changed = (prompt > 0) & (chance[2] < config["balanced"])
                feat = feat + (changed[:, None] * balance(len(row), feat.shape[2], config["balance"], device))[:, None]
                wrong = torch.randn_like(embeddings[row]) * config["speaker_noise"] / embeddings.shape[1] ** 0.5
                speaker = embeddings[row] + torch.rand(len(row), 1, device=device) * wrong
                speaker = speaker * (chance[3] >= config["speaker_dropout"])[:, None]
            with torch.autocast(feat.device.type, torch.bfloat16, enabled=feat.is_cuda, cache_enabled=False):
                told = flow.conditions(token, lengths, feat, 2 * lengths, speaker, prompt, streaming)
                loss = flow.loss_given(
                    told, feat, t=drawn.t, noise=drawn.noise, keep=drawn.keep, prior_weight=config["prior_weight"]
                )
                found = {"loss": loss.detach()}
                if hearing and not streaming:
                    for name, (weight, distance) in hearing.distances(
                        told, drawn.noise, token, feat, row, others, lengths
                    ).items():
                        loss = loss + weight * distance
                        found[name] = distance.detach()
            return {**found, "norm": optimiser.step(loss)}

        return Captured(step, device)

    steps = {(s, n): step_with(s, n) for s in (False, True) for n in config["crops"]}
    lengths = np.array([r.tokens for r in corpus.rows])
    begin = np.array([r.start for r in corpus.rows])
    seconds, count = Counter(), Counter(row.speaker for row in corpus.rows)
    for row in corpus.rows:
        seconds[row.speaker] += row.tokens
    mass = np.array([r.tokens * seconds[r.speaker] ** -config["rare_speakers"] for r in corpus.rows])
    mass = drawing_weights(corpus.rows, mass, config["fractions"])
    once = np.array([1 / count[r.speaker] for r in corpus.rows])
    anybody = drawing_weights(corpus.rows, once, config["between_fractions"])
    alike = families(corpus.rows)
    rng = np.random.default_rng(config["seed"])
    run, saved = Run(args.out, config["steps"], config["minutes"]), 0.0
    for number in run:
        crop_tokens = config["crops"][number // 2 % len(config["crops"])]
        picked = rng.choice(len(mass), size=max(1, config["tokens_per_batch"] // crop_tokens), p=mass)
        inside = np.minimum(lengths[picked], crop_tokens)
        offset = (rng.random(len(picked)) * (lengths[picked] - inside + 1)).astype(np.int64)
        said = np.where(rng.random(len(picked)) < config["shared"], [another(alike[i], rng) for i in picked], picked)
        optimiser.schedule(run.progress)
        others = rng.choice(len(mass), size=(len(picked), 2), p=anybody)
        tensors = {
            "starts": begin[picked] + offset, "given": begin[said] + offset, "lengths": inside, "row": picked, "others": others,
        }  # fmt: skip
        result = steps[(number % 2 == 1, crop_tokens)](**{n: torch.from_numpy(v) for n, v in tensors.items()})
        run.report(200, **result)
        if run.progress - saved > 0.25:
            saved = run.progress
            run.save(plain_names(optimiser.averaged_state()), config=flow.config.model_dump(), progress=run.progress)
    about = {"config": flow.config.model_dump(), "hours": round(corpus.hours(), 2), "resumed": args.resume is not None}
    run.save(plain_names(optimiser.averaged_state()), **about)


if __name__ == "__main__":
    main()
