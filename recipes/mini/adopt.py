"""Install a part of the embedded voice that was trained again; all other parts are unchanged.

    python adopt.py --lm-teacher teacher.safetensors [--tokens tokens.npz] [--model ...] [--teacher models/mini-teacher]
    python adopt.py --student RUN/student [--model src/mamtra/assets/mini] [--teacher models/mini-teacher] [--storage int8]
    python adopt.py --flow flow.safetensors [--model src/mamtra/assets/mini] [--storage int8]
    python adopt.py --vocoder vocoder.safetensors [--model src/mamtra/assets/mini] [--storage int8]
    python adopt.py --speech-tokenizer encoder.safetensors [--model src/mamtra/assets/mini] [--storage int4]
    python adopt.py --speaker-encoder speaker.safetensors [--model src/mamtra/assets/mini] [--storage int8]

A student is one of `mamtra distill`: the layer plan, the origin of every tensor, and the settings and figures of its training are
written to provenance.json and the model card; one that was trained on from the installed student keeps its plan and origins. Of a
flow (train_flow.py), a vocoder (train_vocoder.py), a speech tokenizer (train_tokenizer.py, train_encoder.py), a speaker encoder
(train_speaker.py) or a teacher (train_lm.py) these are its figures, and which one it continues. The teacher comes first.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from export import describe_data, describe_stage, size_table, trace_student
from model_card import write_card
from tokens import TokenSet
from torch import nn
from trained import load_network

from mamtra.checkpoints.native import PROVENANCE, hash_part, read_config, save_model
from mamtra.checkpoints.storage import STORAGES
from mamtra.distill.models import open_speech_lm, read_weights
from mamtra.runtime.json_files import read_json

EARLIER = ("steps", "minutes", "hours", "continues", "note", "sha256")
"""What is kept of the training that a training goes on from."""

PARTS_ALONE = ("flow", "vocoder", "speech_tokenizer", "speaker_encoder")
"""Parts that a training makes without the others, as options are named."""


def continued(stage: dict[str, Any]) -> dict[str, Any]:
    """The record of a stage in that of the one that goes on from it."""
    return {name: stage[name] for name in EARLIER if name in stage}


def install(model: Path, parts: dict[str, nn.Module], storage: str, provenance: dict[str, Any]) -> None:
    """Write these parts of the model, its provenance and its card. With another speech tokenizer its voices do not fit any more,
    unless only its encoder was trained."""
    provenance["storage"] = {**provenance["storage"], **dict.fromkeys(parts, storage)}
    provenance.pop("sha256")
    kept = provenance["stages"]["speech_tokenizer"].get("keeps_tokens", False)
    space = read_config(model)["voice_space"] if kept or "speech_tokenizer" not in parts else None
    save_model(model, parts, storage=storage, provenance=provenance, space=space)
    write_card(model, provenance)


def adopt_student(student: Path, model: Path, teacher: Path, storage: str) -> None:
    """Write the language model, its provenance and the model card."""
    lm, began = read_weights(open_speech_lm(student)), read_weights(open_speech_lm(teacher))
    training = read_json(student / PROVENANCE)["distillation"]
    settings, provenance = training["settings"], read_json(model / PROVENANCE)
    chosen, held = settings["student"], training["validation"]
    record = {name: training[name] for name in ("steps", "epochs", "minutes", "utterances", "device", "processes")}
    if chosen["model"] is None:
        provenance["plan"] = {
            "ratio": chosen["ratio"], "strategy": chosen["strategy"], "layer_types": list(lm.config.layer_types)
        }  # fmt: skip
        provenance["student"] = trace_student(began, lm, chosen["seed"])
    elif list(lm.config.layer_types) == provenance["plan"]["layer_types"]:
        record["continues"] = continued(provenance["stages"]["student"])
    else:
        raise SystemExit("this student goes on from another one than the installed one")
    provenance["seeds"] = {**provenance["seeds"], "student": settings["run"]["seed"]}
    provenance["stages"]["student"] = {
        **record,
        "measured": {"held_out_nats": round(held["ce"], 4), "teacher_held_out_nats": round(held["teacher_ce"], 4)},
        "settings": {name: settings[name] for name in ("losses", "batch", "optimizer", "alignment", "on_policy")},
        "fraction_of_data": settings["data"]["fraction"],
        "sha256": hash_part(student, "lm"),
    }
    install(model, {"lm": lm}, storage, provenance)


def adopt_teacher(weights: Path, model: Path, teacher: Path, storage: str, tokens: Path | None) -> None:
    """Write the teacher; its figures, and those of the token set, go to the provenance and the card of the model."""
    provenance = read_json(model / PROVENANCE)
    earlier = provenance["stages"]["teacher"]
    stage = {**describe_stage(weights), "continues": continued(earlier)}
    provenance["stages"]["teacher"] = stage
    provenance["teacher"] = {**provenance["teacher"], "sha256": stage["sha256"]}
    if tokens is not None:
        provenance["data"] = describe_data(TokenSet.load(tokens))
    save_model(teacher, {"lm": load_network(weights, "lm")}, storage=storage)
    install(model, {}, storage, provenance)


def adopt_part(name: str, weights: Path, model: Path, storage: str) -> None:
    """Write flow, vocoder or speech tokenizer, its provenance and the model card."""
    provenance = read_json(model / PROVENANCE)
    about, earlier = describe_stage(weights), provenance["stages"][name]
    if about.pop("resumed", False):
        about["continues"] = continued(earlier)
    provenance["stages"][name] = about
    install(model, {name: load_network(weights, name)}, storage, provenance)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parents[2]
    part = parser.add_mutually_exclusive_group(required=True)
    part.add_argument("--student", type=Path, help="model directory written by a training run")
    part.add_argument("--flow", type=Path, help="weights written by train_flow.py, its log beside them")
    part.add_argument("--vocoder", type=Path, help="weights written by train_vocoder.py, its log beside them")
    part.add_argument(
        "--speech-tokenizer", type=Path, help="weights written by train_tokenizer.py, its log beside them"
    )
    part.add_argument("--lm-teacher", type=Path, help="weights written by train_lm.py, its log beside them")
    part.add_argument("--speaker-encoder", type=Path, help="weights written by train_speaker.py, its log beside them")
    parser.add_argument("--tokens", type=Path, help="token set of the teacher, to list the data")
    parser.add_argument("--model", type=Path, default=root / "src" / "mamtra" / "assets" / "mini")
    parser.add_argument("--teacher", type=Path, default=root / "models" / "mini-teacher")
    parser.add_argument("--storage", choices=STORAGES, default="int8", help="int4 is not for a language model")
    args = parser.parse_args(argv)
    if args.storage == "int4" and (args.student or args.lm_teacher):
        parser.error("a language model is not stored as int4; give --storage int8")
    if args.student:
        adopt_student(args.student, args.model, args.teacher, args.storage)
    elif args.lm_teacher:
        adopt_teacher(args.lm_teacher, args.model, args.teacher, args.storage, args.tokens)
    else:
        name = next(name for name in PARTS_ALONE if getattr(args, name))
        adopt_part(name, getattr(args, name), args.model, args.storage)
    print(size_table(args.model))


if __name__ == "__main__":
    main()
