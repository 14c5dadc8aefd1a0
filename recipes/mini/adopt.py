"""Install a part of the embedded voice that was trained again; all other parts are unchanged.

    python adopt.py --student RUN/student [--model src/mamtra/assets/mini] [--teacher models/mini-teacher] [--storage int8]
    python adopt.py --vocoder vocoder.safetensors [--model src/mamtra/assets/mini] [--storage int8]

A student is one of `mamtra distill`: the layer plan, the origin of every tensor, and the settings and figures of its training are
written to provenance.json and the model card. Of a vocoder (train_vocoder.py) these are its figures, and which one it continues.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from export import describe_stage, size_table, trace_student
from model_card import write_card
from trained import load_network

from mamtra.checkpoints.native import PROVENANCE, hash_weights, save_model
from mamtra.checkpoints.parts import PARTS
from mamtra.checkpoints.storage import STORAGES
from mamtra.distill.models import open_speech_lm, read_weights
from mamtra.runtime.json_files import read_json


def adopt_student(student: Path, model: Path, teacher: Path, storage: str) -> None:
    """Write the language model, its provenance and the model card."""
    lm, began = read_weights(open_speech_lm(student)), read_weights(open_speech_lm(teacher))
    training = read_json(student / PROVENANCE)["distillation"]
    settings, provenance = training["settings"], read_json(model / PROVENANCE)
    chosen, held = settings["student"], training["validation"]
    record = {name: training[name] for name in ("steps", "epochs", "minutes", "utterances", "device", "processes")}
    provenance["plan"] = {
        "ratio": chosen["ratio"], "strategy": chosen["strategy"], "layer_types": list(lm.config.layer_types)
    }  # fmt: skip
    provenance["student"] = trace_student(began, lm, chosen["seed"])
    provenance["seeds"] = {**provenance["seeds"], "student": settings["run"]["seed"]}
    provenance["stages"]["student"] = {
        **record,
        "measured": {"held_out_nats": round(held["ce"], 4), "teacher_held_out_nats": round(held["teacher_ce"], 4)},
        "settings": {name: settings[name] for name in ("losses", "batch", "optimizer", "alignment", "on_policy")},
        "fraction_of_data": settings["data"]["fraction"],
        "sha256": hash_weights(student / PARTS["lm"].file),
    }  # fmt: skip
    provenance["storage"] = {**provenance["storage"], "lm": storage}
    provenance.pop("sha256")
    save_model(model, {"lm": lm}, storage=storage, provenance=provenance)
    write_card(model, provenance)


def adopt_vocoder(weights: Path, model: Path, storage: str) -> None:
    """Write the vocoder, its provenance and the model card."""
    provenance = read_json(model / PROVENANCE)
    about, earlier = describe_stage(weights), provenance["stages"]["vocoder"]
    if about.pop("resumed", False):
        names = ("steps", "minutes", "hours", "continues", "note", "sha256")
        about["continues"] = {name: earlier[name] for name in names if name in earlier}
    provenance["stages"]["vocoder"] = about
    provenance["storage"] = {**provenance["storage"], "vocoder": storage}
    provenance.pop("sha256")
    save_model(model, {"vocoder": load_network(weights, "vocoder")}, storage=storage, provenance=provenance)
    write_card(model, provenance)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parents[2]
    part = parser.add_mutually_exclusive_group(required=True)
    part.add_argument("--student", type=Path, help="model directory written by a training run")
    part.add_argument("--vocoder", type=Path, help="weights written by train_vocoder.py, its log beside them")
    parser.add_argument("--model", type=Path, default=root / "src" / "mamtra" / "assets" / "mini")
    parser.add_argument("--teacher", type=Path, default=root / "models" / "mini-teacher")
    parser.add_argument("--storage", choices=STORAGES, default="int8")
    args = parser.parse_args(argv)
    if args.student:
        adopt_student(args.student, args.model, args.teacher, args.storage)
    else:
        adopt_vocoder(args.vocoder, args.model, args.storage)
    print(size_table(args.model))


if __name__ == "__main__":
    main()
