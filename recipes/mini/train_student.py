"""Train the MamTra student: the teacher is converted and distilled by `mamtra.distill` with the settings of distill.yaml.

python train_student.py --config mini.yaml --tokens tokens.npz --teacher teacher.safetensors --out student.safetensors

The teacher's model directory, the token shards and the training run are kept in a folder beside the result; an interrupted run is
resumed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors.torch import save_file
from trained import load_network
from training import section

from mamtra.checkpoints.native import PROVENANCE, save_model
from mamtra.data import prepare
from mamtra.distill import distill
from mamtra.distill.models import open_speech_lm, read_weights
from mamtra.runtime.json_files import read_json
from mamtra.runtime.yaml_files import read_settings

HERE = Path(__file__).resolve().parent


def train(settings: Path, tokens: Path, teacher: Path, out: Path, seed: int, device: str, changes: list[str]) -> None:
    """Write the student's weights, with configuration, plan and figures in the header."""
    work = out.with_suffix("")
    model, shards, run = work / "teacher", work / "tokens", work / "run"
    if not model.is_dir():
        save_model(model, {"lm": load_network(teacher, "lm")})
    prepare(tokens, shards, model=str(model))
    content = read_settings(settings, changes)
    content |= {"out": str(run), "teacher": {**content["teacher"], "model": str(model)}}
    content |= {"data": {**content["data"], "train": str(shards)}, "student": {**content["student"], "seed": seed}}
    content["run"] |= {"seed": seed, "device": device}
    done = distill(content, resume=True, listener=print)
    student = read_weights(open_speech_lm(done.student))
    plan = read_json(done.student / PROVENANCE)["plan"]
    about = {
        "config": student.config.model_dump(),
        "plan": {name: plan[name] for name in ("ratio", "strategy")},
        "measured": {"student": done.validation["ce"], "teacher": done.validation["teacher_ce"]},
        "steps": done.steps,
    }
    save_file(student.state_dict(), out, metadata={name: json.dumps(value) for name, value in about.items()})


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="mini.yaml, for the seed of the student")
    parser.add_argument("--settings", type=Path, default=HERE / "distill.yaml", help="settings of the training run")
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="overrides of the settings")
    args = parser.parse_args(argv)
    seed = section(args.config, "student")["seed"]
    train(args.settings, args.tokens, args.teacher, args.out, seed, args.device, args.changes)


if __name__ == "__main__":
    main()
