"""Memory, steps and time of a training run, from sizes alone: modules are built on the meta device, no weights are read."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import nn

from mamtra.checkpoints.parts import PARTS
from mamtra.data.bucket_sampler import Sampler
from mamtra.data.corpus import Corpus, check_corpus, open_corpus
from mamtra.distill.config import DistillConfig
from mamtra.distill.models import check_pair, conversion_of, open_speech_lm, read_opening
from mamtra.models.config import SpeechLMConfig
from mamtra.runtime.arguments import checked
from mamtra.runtime.device import pick_device

UTILISATION = 0.3
"""Fraction of a plain matrix product's speed that a training is assumed to reach."""


@checked
def estimate(config: DistillConfig) -> dict[str, Any]:
    """Parameters, steps, bytes and time, for JSON.

    Memory is exact for weights, gradients and moments; activations are counted as `activation_bytes` says. Time assumes
    `UTILISATION` of what one matrix product reaches on the device now.

    Raises:
        MamTraError: models, corpus and settings do not fit.
    """
    stored = open_speech_lm(config.teacher.model)
    corpus = open_corpus(config.data)
    check_corpus(corpus.train.manifest, config.data.train, stored)
    settings = config.student
    student = open_speech_lm(settings.model).config if settings.model else conversion_of(settings, stored).config
    check_pair(stored.config, student, config.losses)
    with torch.device("meta"):
        teacher_lm, student_lm = PARTS["lm"].build(stored.config), PARTS["lm"].build(student)
    sampler = _sampler(config, corpus, len(read_opening(stored)))
    per_epoch = len(sampler.epoch(0))
    steps = config.run.steps or max(1, round(config.run.epochs * per_epoch / config.batch.accumulation))
    positions = config.batch.tokens
    needed = bool(config.losses.logits_weight or config.losses.emb_weight)
    trained = [p for name, p in student_lm.named_parameters() if config.optimizer.train == "all" or ".mamba." in name]
    teacher_bytes = _frozen_bytes(teacher_lm, config.run.precision) if needed else 0
    memory = {
        "weights": 4 * _count(student_lm),
        "gradients": 4 * sum(p.numel() for p in trained),
        "optimizer": (8 + 4 * (config.optimizer.average > 0)) * sum(p.numel() for p in trained),
        "teacher": teacher_bytes,
        "activations": activation_bytes(student, config),
    }
    matrices = {"student": _matrices(student_lm), "teacher": _matrices(teacher_lm) * needed}
    flops = (6 * matrices["student"] + 2 * matrices["teacher"]) * positions * config.batch.accumulation
    device = pick_device(config.run.device)
    speed = product_speed(device, config.run.precision)
    return {
        "teacher_parameters": _count(teacher_lm),
        "student_parameters": _count(student_lm),
        "trained_parameters": sum(p.numel() for p in trained),
        "mamba_layers": list(student.plan.mamba_layers),
        "utterances": len(corpus.rows),
        "left_out": sampler.left_out,
        "speech_tokens": int(corpus.train.speech_len[corpus.rows].sum()),
        "micro_batches_per_epoch": per_epoch,
        "steps": steps,
        "epochs": round(steps * config.batch.accumulation / per_epoch, 3),
        "bucket_lengths": list(sampler.lengths),
        "memory_bytes": {**memory, "total": sum(memory.values())},
        "step_flops": flops,
        "device": str(device),
        "assumed_flops_per_second": round(UTILISATION * speed),
        "hours": round(steps * flops / (UTILISATION * speed) / 3600, 3),
    }


def activation_bytes(model: SpeechLMConfig, config: DistillConfig) -> int:
    """Activations that the backward pass of one micro-batch reads.

    A layer keeps about 8 values a channel of its width (residual in float32, both norms, mixer input and output), 4 a channel
    of the feed-forward, 6 a channel of the mixer, and a Mamba layer besides the products inside chunks (two of chunk x chunk
    a head) and the states between them. With checkpointing only the residual of each layer stays, and one layer's all.
    """
    width = 2 if config.run.precision == "bf16" else 4
    positions = config.batch.tokens
    shared = positions * (8 * model.hidden_size + 4 * model.intermediate_size + 6 * model.query_size) * width
    chunk, heads = model.mamba_chunk_size, model.num_attention_heads
    scan = positions * heads * (2 * chunk + 2 * model.head_dim**2 / chunk) * 4
    layers = [shared + (scan if kind == "linear_attention" else 0) for kind in model.layer_types]
    residual = positions * model.hidden_size * 4 * len(layers)
    logits = 5 * min(config.run.loss_chunk, positions) * model.speech_vocab_size * 4
    return int((residual + max(layers) if config.run.gradient_checkpointing else sum(layers)) + logits)


def product_speed(device: torch.device, precision: str) -> float:
    """Operations a second of a square matrix product."""
    size, kind = (4096, torch.bfloat16) if device.type == "cuda" and precision == "bf16" else (1024, torch.float32)
    a = torch.randn(size, size, device=device, dtype=kind)
    times = []
    for _ in range(4):
        began = time.perf_counter()
        b = a @ a
        float(b[0, 0])  # waits for the device
        times.append(time.perf_counter() - began)
    return 2 * size**3 / float(np.min(times))


def _sampler(config: DistillConfig, corpus: Corpus, opening: int) -> Sampler:
    data, batch = corpus.train, config.batch
    return Sampler(
        data.text_len, data.speech_len, data.speaker, corpus.rows,
        budget=batch.tokens, lengths=batch.lengths, concatenate_same_speaker=batch.concatenate_same_speaker,
        opening=opening, seed=config.run.seed,
    )  # fmt: skip


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _matrices(module: nn.Module) -> int:
    return sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Linear))


def _frozen_bytes(module: nn.Module, precision: str) -> int:
    half = _matrices(module) if precision == "bf16" else 0
    return 4 * _count(module) - 2 * half
