"""Write the trained networks as a model directory: packed weights, sampling limits, provenance, model card.

    python export.py --teacher T --student S --flow F --vocoder V --tokenizer K --speaker P --text DIR --out src/mamtra/assets/mini
        [--teacher-out models/mini-teacher] [--tokens tokens.npz] [--storage int8 vocoder=float16] [--config mini.yaml]

The weight files are those written by train_*.py: `config` and the measured figures are in the metadata, NAME.log.jsonl lies beside.
The teacher's directory holds only its LM and refers to the student's for everything else. Run make_voices.py afterwards.
"""

from __future__ import annotations

import argparse
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from model_card import write_card
from tokens import TokenSet
from trained import load_network, read_metadata

import mamtra
from mamtra.checkpoints.generation_config import GenerationConfig
from mamtra.checkpoints.model_files import name_base, read_generation
from mamtra.checkpoints.native import hash_weights, save_model
from mamtra.checkpoints.parts import PARTS
from mamtra.checkpoints.storage import LM_STORAGES, STORAGES
from mamtra.checkpoints.strict_loading import describe_difference
from mamtra.conversion.transfer import convert_attention_to_mamba
from mamtra.models.plan import LayerPlan
from mamtra.models.speech_lm import SpeechLM
from mamtra.text.english.phonemes import phoneme_ids
from mamtra.text.frontend import CONFIG_FILE, LETTER_TO_SOUND_FILE, LEXICON_FILE, TOKENIZER_FILE

STORAGE = {"lm": "int8", "flow": "int8", "vocoder": "int8", "speech_tokenizer": "int4", "speaker_encoder": "int8"}
TEXT_FILES = (CONFIG_FILE, LETTER_TO_SOUND_FILE, LEXICON_FILE, TOKENIZER_FILE)
RATIOS = {"min_ratio": 0.5, "max_ratio": 8.0}  # speech tokens per phoneme symbol, used without --tokens
SHORT = {
    "min_tokens": 6,
    "min_limit": 24,
}  # speech tokens of one vowel: 9 to 16 are usual, of which the silence at both ends is most

FLOW_STEPS = 4  # sounds better than 10, see the log, and takes less than half of the time


def parse_storage(choices: Iterable[str]) -> dict[str, str]:
    """Storage by section from KIND (all sections) and SECTION=KIND; later choices override earlier ones."""
    storage = dict(STORAGE)
    for choice in choices:
        section, _, kind = choice.rpartition("=")
        kinds = LM_STORAGES if section in ("", "lm") else STORAGES
        if kind not in kinds or (section and section not in storage):
            raise SystemExit(
                f"--storage {choice}: write KIND or SECTION=KIND; {', '.join(kinds)}; {', '.join(storage)}"
            )
        storage.update({section: kind} if section else dict.fromkeys(storage, kind))
    return storage


def measure_ratios(tokens: TokenSet) -> dict[str, float]:
    """Limits of speech tokens per text id: half of the 1st percentile and 1.6 times the 99.9th percentile."""
    ratios = np.diff(tokens.speech_at) / np.maximum(1, np.diff(tokens.text_at))
    low, high = np.percentile(ratios, [1, 99.9])
    return {"min_ratio": round(0.5 * float(low), 3), "max_ratio": round(1.6 * float(high), 3)}


def describe_data(tokens: TokenSet) -> dict[str, dict[str, float]]:
    """Utterances and hours of each source of the token set."""
    length = np.diff(tokens.speech_at)
    return {
        name: {
            "utterances": int((tokens.source == number).sum()),
            "hours": round(float(length[tokens.source == number].sum()) * 0.04 / 3600, 2),
        }
        for number, name in enumerate(tokens.sources)
    }


def describe_stage(path: Path) -> dict[str, Any]:
    """Figures of a training run: its metadata without the sizes, the last line of its log, and the hash of its weights."""
    about = {name: value for name, value in read_metadata(path).items() if name != "config"}
    log = path.with_suffix(".log.jsonl")
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return {**about, **({"last_log_line": json.loads(lines[-1])} if lines else {}), "sha256": hash_weights(path)}


def trace_student(teacher: SpeechLM, student: SpeechLM, seed: int) -> dict[str, Any]:
    """The origin of each tensor of the student, and how much training has changed it.

    The conversion is repeated with the seed of the training run, so `moved` (norm of the change over norm of the initial value)
    is relative to the actual initial value; what began at zero has none.
    """
    plan = LayerPlan(layer_types=student.config.layer_types)
    start, origins = convert_attention_to_mamba(teacher, plan, generator=torch.Generator().manual_seed(seed))
    began, ended = start.state_dict(), student.state_dict()
    shapes = [{name: tuple(tensor.shape) for name, tensor in state.items()} for state in (began, ended)]
    if shapes[0] != shapes[1]:
        raise SystemExit(f"the student is no conversion of this teacher: {describe_difference(*shapes)}")
    moved = {
        name: {"moved": round(float((ended[name] - value).norm() / value.norm()), 4)}
        for name, value in began.items()
        if value.any()
    }
    records = [
        {
            name: value
            for name, value in asdict(origin).items()
            if value not in (None, "") and (name, value) != ("source", origin.tensor)
        }
        for origin in origins
    ]
    return {
        "note": "origin of the tensor at the start of distillation, which then trained all of them; without a source it is the "
        "teacher's of the same name; layers: by number in place of the star; moved: relative change of each, where the start "
        "is not zero",
        "tensors": by_layer([{**record, **moved.get(record["tensor"], {})} for record in records]),
    }


def by_layer(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record for all layers in which a tensor has the same origin: a star for the layer in its name and its source's."""
    groups: dict[str, dict[str, Any]] = {}
    for record in records:
        layer = re.search(r"\.layers\.(\d+)\.", record["tensor"])
        if layer is None:
            groups[record["tensor"]] = record
            continue
        about = {k: v.replace(layer[0], ".layers.*.") if isinstance(v, str) else v for k, v in record.items()}
        moved = about.pop("moved", None)
        group = groups.setdefault(json.dumps(about, sort_keys=True), {**about, "layers": [], "moved": []})
        group["layers"].append(int(layer[1]))
        group["moved"].append(moved)
    for group in groups.values():
        if "layers" in group and not any(value is not None for value in group["moved"]):
            del group["moved"]
    return list(groups.values())


def part_sizes(directory: Path) -> dict[str, tuple[int, int]]:
    """Bytes of every file of a folder, uncompressed and deflated as in a wheel."""
    found = {}
    for path in sorted(p for p in directory.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        data = path.read_bytes()
        found[path.relative_to(directory).as_posix()] = (len(data), len(zlib.compress(data, 6)))
    return found


def size_table(directory: Path) -> str:
    """MiB by part, and of a wheel with the package's code."""
    sizes = part_sizes(directory)
    package = Path(mamtra.__file__).parent
    code = [v[1] for name, v in part_sizes(package).items() if not name.startswith("assets/")]
    rows = [(name, *size) for name, size in sizes.items()]
    rows.append(("together", sum(r[1] for r in rows), sum(r[2] for r in rows)))
    rows.append(("wheel with the code", 0, rows[-1][2] + sum(code)))
    lines = [f"{name:32} {f'{raw / 2**20:8.3f}' if raw else '':8} {packed / 2**20:8.3f}" for name, raw, packed in rows]
    return "\n".join([f"{'':32} {'MiB':>8} {'deflated':>8}", *lines])


def export(args: argparse.Namespace) -> Path:
    """Write the directories named by `args`."""
    settings = yaml.safe_load(args.config.read_text(encoding="utf-8"))
    files = {
        "lm": args.student,
        "flow": args.flow,
        "vocoder": args.vocoder,
        "speech_tokenizer": args.tokenizer,
        "speaker_encoder": args.speaker,
    }
    missing = [name for name in TEXT_FILES if not (args.text / name).is_file()]
    if missing:
        raise SystemExit(f"{args.text} has no {', '.join(missing)}")
    storage = parse_storage(args.storage)
    networks = {section: load_network(path, section) for section, path in files.items()}
    teacher = load_network(args.teacher, "lm")
    tokens = TokenSet.load(args.tokens) if args.tokens else None
    stages = {"teacher": args.teacher, "student": args.student, **{s: files[s] for s in files if s != "lm"}}
    provenance = {
        "teacher": {"sha256": hash_weights(args.teacher), "name": args.teacher_out.name if args.teacher_out else None},
        "plan": {**read_metadata(args.student).get("plan", {}), "layer_types": networks["lm"].config.layer_types},
        "student": trace_student(teacher, networks["lm"], settings["student"]["seed"]),
        "data": describe_data(tokens) if tokens else {},
        "seeds": {name: section["seed"] for name, section in settings.items() if "seed" in section},
        "stages": {name: describe_stage(path) for name, path in stages.items()},
        "storage": storage,
    }
    ratios = measure_ratios(tokens) if tokens else RATIOS
    voice = args.voice or read_generation(args.out).voice
    generation = GenerationConfig(
        **ratios,
        **SHORT,
        top_p=args.top_p,
        flow_steps=args.flow_steps,
        voice=voice,
        continue_clones=args.continue_clones,
        alignment_head=args.alignment_head,
        pace=args.pace,
        apart=tuple(phoneme_ids()[mark] for mark in "“” "),
    )
    copies = {n: args.text / n for n in TEXT_FILES if not _same(args.text / n, args.out / n)}
    save_model(args.out, networks, storage=storage, generation=generation, text_files=copies, provenance=provenance)
    write_card(args.out, provenance)
    if args.teacher_out:
        base = name_base(args.out, args.teacher_out)
        save_model(args.teacher_out, {"lm": teacher}, storage=storage, generation=generation, base=base)
    return args.out


def _same(one: Path, two: Path) -> bool:
    return two.exists() and one.samefile(two)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("teacher", "student", "flow", "vocoder", "tokenizer", "speaker"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"{name}.safetensors")
    parser.add_argument("--text", type=Path, required=True, help="folder with the files of the text front end")
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")
    parser.add_argument("--teacher-out", type=Path, help="directory for the teacher, completed by --out")
    parser.add_argument("--tokens", type=Path, help="tokens.npz, to measure token rates and list the data")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("mini.yaml"))
    parser.add_argument("--storage", nargs="*", default=[], metavar="[SECTION=]KIND", help=f"default {STORAGE}")
    parser.add_argument("--top-p", type=float, default=GenerationConfig().top_p, help="of the sampler")
    parser.add_argument(
        "--alignment-head",
        type=int,
        nargs=2,
        metavar=("LAYER", "HEAD"),
        help="that follows the text; see find_alignment.py",
    )
    parser.add_argument(
        "--pace",
        type=float,
        nargs=2,
        metavar=("PER_ID", "BESIDES"),
        help="speech tokens that a text takes; see benchmarks/list_durations.py",
    )
    parser.add_argument("--flow-steps", type=int, default=FLOW_STEPS)
    parser.add_argument(
        "--continue-clones",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether the LM continues cloned recordings",
    )
    parser.add_argument("--voice", help="the default voice; by default that of the directory, if it has one")
    args = parser.parse_args(argv)
    print(size_table(export(args)))
    if args.teacher_out:
        path = args.teacher_out / PARTS["lm"].file
        print(f"{path}: {path.stat().st_size / 2**20:.3f} MiB")


if __name__ == "__main__":
    main()
