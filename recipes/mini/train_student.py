"""The MamTra student: the teacher converted by weight transfer, then distilled (cross-entropy + skew KL + embedding MSE).

python train_student.py --config mini.yaml --tokens tokens.npz --teacher teacher.safetensors --out student.safetensors [k=v ...]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from lm_data import endless, held_out
from tokens import TokenSet
from torch import Tensor
from train_lm import held_out_loss
from trained import load_network
from training import Captured, Optimiser, Run, ahead, command, resume, section

from mamtra.conversion.transfer import convert_attention_to_mamba
from mamtra.distill.losses import DistillLossConfig, distill_loss
from mamtra.models.plan import LayerPlan


def main() -> None:
    parser = command(__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    args = parser.parse_args()
    config, device = section(args.config, "student", args.changes), args.device
    torch.manual_seed(config["seed"])
    data = TokenSet.load(args.tokens)
    teacher = load_network(args.teacher, "lm")
    plan = LayerPlan.from_ratio(teacher.config.num_hidden_layers, config["ratio"], config["strategy"])
    student, _ = convert_attention_to_mamba(teacher, plan, generator=torch.Generator().manual_seed(config["seed"]))
    resume(student, args.resume)
    teacher.to(device)
    student.to(device).train().requires_grad_(True)
    losses = DistillLossConfig(**config["losses"])
    optimiser = Optimiser(student, config["lr"], decay=config["decay"], average=config["average"])

    def step(kind: Tensor, ids: Tensor, target: Tensor) -> dict[str, Tensor]:
        with torch.autocast(kind.device.type, torch.bfloat16, enabled=kind.is_cuda, cache_enabled=False):
            with torch.no_grad():
                aim = teacher(teacher.embed(kind, ids))
                aim_logits = teacher.logits(aim)
            hidden = student(student.embed(kind, ids))
            logits = student.logits(hidden)
        loss = distill_loss(
            losses, student_logits=logits, teacher_logits=aim_logits, targets=target,
            student_emb=[hidden], teacher_emb=[aim], emb_valid=kind >= 0,
        )  # fmt: skip
        norm = optimiser.step(loss.total)
        return {"ce": loss.ce.detach(), "kl": loss.logits.detach(), "emb": loss.emb.detach(), "norm": norm}

    captured = Captured(step, device)
    rows = np.flatnonzero(~held_out(data))
    eos = student.config.eos_id
    feed = endless(data, rows, config["join"], config["tokens_per_batch"], eos, np.random.default_rng(config["seed"]))
    feed = ahead(feed)
    run, saved = Run(args.out, config["steps"], config["minutes"]), 0.0
    for _ in run:
        optimiser.schedule(run.progress)
        run.report(200, **captured(**next(feed)))
        if run.progress - saved > 0.25:
            saved = run.progress
            run.save(optimiser.averaged_state(), config=student.config.model_dump(), progress=run.progress)
    student.load_state_dict(optimiser.averaged_state())
    measured = {
        "student": held_out_loss(student, data, config["tokens_per_batch"], device),
        "teacher": held_out_loss(teacher, data, config["tokens_per_batch"], device),
    }
    print("held out, nats a token:", measured, flush=True)
    about = {"plan": {"ratio": config["ratio"], "strategy": config["strategy"]}, "losses": config["losses"]}
    run.save(
        optimiser.averaged_state(), config=student.config.model_dump(), measured=measured, utterances=len(rows), **about
    )


if __name__ == "__main__":
    main()
