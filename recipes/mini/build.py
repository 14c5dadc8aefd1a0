"""Data preparation and the six training runs of the embedded voice in one command. Run again, it skips finished stages.

    python build.py --data DIR --work DIR --campplus FILE --whisper DIR [--gpus 0,1] [--config mini.yaml] [--only NAME ...]

The data DIR holds text/, kokoro/ and real/ as described in README.md. Independent stages run in parallel; of two GPUs one trains
the acoustic networks (vocoder, speaker, flow), the other tokenizer, teacher and student. Logs are written to WORK/logs, weights to
WORK/out, times to WORK/costs.json. Afterwards run export.py and make_voices.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from mamtra.runtime.files import write_text

HERE = Path(__file__).resolve().parent
ASSETS = HERE.parents[1] / "src" / "mamtra" / "assets" / "mini"


@dataclass
class Stage:
    """One command, the stages it needs, and the file that marks it as done. `lane` is an index into the given GPUs.

    `needs` names every stage whose files the command reads, not only the last of a chain: a stage counts as done if its file was
    put there by hand, which does not imply that the stages before it are done.
    """

    name: str
    needs: tuple[str, ...]
    done: Path
    command: list[str]
    lane: int | None = None
    process: subprocess.Popen | None = field(default=None, repr=False)
    begin: float = 0.0


def stages(
    data: Path, work: Path, campplus: Path, whisper: Path, config: Path, device: str, workers: int, first: int,
    starts: dict[str, Path],
) -> list[Stage]:  # fmt: skip
    corpus, out = work / "corpus", work / "out"
    base = [str(corpus / name) for name in ("kokoro", "real", "hibari_first")]
    everything = [*base, str(corpus / "hibari_rest")]

    def run(script: str, *arguments: object) -> list[str]:
        return [sys.executable, str(HERE / script), *map(str, arguments)]

    def train(script: str, *arguments: object) -> list[str]:
        return run(script, "--config", config, "--device", device, *arguments)

    def mark(name: str) -> Path:
        return work / "done" / name

    texts, targets, embeddings = work / "texts.tsv", work / "targets.npz", work / "embeddings.npz"
    tokens, base_tokens = out / "tokens.npz", work / "base_tokens.npz"
    weights = {
        name: out / f"{name}.safetensors" for name in ("tokenizer", "speaker", "vocoder", "flow", "teacher", "student")
    }
    speak = ("speak.py", "--texts", texts, "--workers", workers, "--out")
    take = ("--workers", workers, "--model", ASSETS)
    tokenise = ("--tokenizer", weights["tokenizer"], "--device", device, "--out")

    def recordings(name: str, folder: str, needs: tuple[str, ...]) -> Stage:
        command = run("import_audio.py", "--metadata", data / name / "metadata.tsv", "--out", folder, *take)
        return Stage(name, needs, mark(name), command)

    def trained(name: str, needs: tuple[str, ...], lane: int, *arguments: object) -> Stage:
        script = {"teacher": "train_lm.py"}.get(name, f"train_{name}.py")
        begin = ("--resume", starts[name]) if name in starts else ()
        return Stage(name, needs, weights[name], train(script, "--out", weights[name], *begin, *arguments), lane)

    with_sound = ("kokoro", "real", "speak_first")
    from_base = ("--corpus", *base)
    embed = ("--targets", targets, "--embeddings", embeddings)
    find_targets = run("speaker_targets.py", *from_base, "--weights", campplus, "--out", targets, "--device", device)
    return [
        Stage("texts", (), texts, run("texts.py", "--text", data / "text", "--model", ASSETS, "--out", texts)),
        recordings("kokoro", base[0], ()),
        recordings("real", base[1], ("kokoro",)),
        Stage("speak_first", ("texts",), mark("speak_first"), run(*speak, base[2], "--limit", first)),
        Stage(
            "speak_rest",
            ("texts", "speak_first", "real", "tokenizer"),
            mark("speak_rest"),
            run(*speak, everything[3], "--skip", first, "--codes", weights["tokenizer"]),
        ),
        Stage("targets", with_sound, targets, find_targets, 0),
        trained("vocoder", with_sound, 0, *from_base),
        trained("tokenizer", (*with_sound, "targets"), 1, *from_base, "--speakers", targets, "--whisper", whisper),
        trained("speaker", (*with_sound, "targets"), 0, *from_base, *embed),
        Stage(
            "base_tokens",
            ("tokenizer", *with_sound),
            base_tokens,
            run("tokens.py", *from_base, *tokenise, base_tokens),
            0,
        ),
        trained(
            "flow",
            (*with_sound, "base_tokens", "speaker"),
            0,
            *(*from_base, "--tokens", base_tokens, "--speakers", embeddings),
        ),
        Stage(
            "tokens",
            (*with_sound, "speak_rest", "tokenizer"),
            tokens,
            run("tokens.py", "--corpus", *everything, *tokenise, tokens),
            1,
        ),
        trained("teacher", ("tokens",), 1, "--tokens", tokens),
        trained("student", ("tokens", "teacher"), 1, "--tokens", tokens, "--teacher", weights["teacher"]),
    ]


def start(stage: Stage, work: Path, gpus: list[str]) -> None:
    environment = dict(os.environ, PYTHONUNBUFFERED="1", OMP_NUM_THREADS="2", OMP_WAIT_POLICY="PASSIVE")
    if stage.lane is None:
        environment["OMP_NUM_THREADS"] = "1"
    elif gpus:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[stage.lane % len(gpus)]
    stage.begin = time.time()
    with (work / "logs" / f"{stage.name}.log").open("w", encoding="utf-8") as log:
        stage.process = subprocess.Popen(stage.command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=HERE)


def last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1][:150] if lines else ""


def build(plan: list[Stage], work: Path, gpus: list[str], only: set[str]) -> int:
    """Run all stages in the order of their dependencies. Returns how many failed or could not start."""
    costs_file = work / "costs.json"
    finished = {s.name for s in plan if s.done.exists()}
    waiting = [s for s in plan if s.name not in finished and (not only or s.name in only)]
    running: list[Stage] = []
    failed, told = [], 0.0
    while waiting or running:
        for stage in [s for s in waiting if finished.issuperset(s.needs)]:
            waiting.remove(stage)
            start(stage, work, gpus)
            running.append(stage)
            print(f"{time.strftime('%X')} {stage.name} starts", flush=True)
        if not running:
            print(f"waiting for stages that are not done: {', '.join(s.name for s in waiting)}", flush=True)
            break
        time.sleep(0.5)
        for stage in [s for s in running if s.process.poll() is not None]:
            running.remove(stage)
            minutes = round((time.time() - stage.begin) / 60, 2)
            log = work / "logs" / f"{stage.name}.log"
            if stage.process.returncode:
                failed.append(stage.name)
                print(
                    f"{time.strftime('%X')} {stage.name} FAILED after {minutes} min, see {log}: {last_line(log)}",
                    flush=True,
                )
                continue
            if stage.done.parent.name == "done":
                stage.done.touch()
            finished.add(stage.name)
            costs = json.loads(costs_file.read_text()) if costs_file.exists() else {}  # another build may write it too
            costs[stage.name] = {"minutes": minutes, "device": "cpu" if stage.lane is None else "gpu"}
            write_text(costs_file, json.dumps(costs, indent=2) + "\n")
            print(f"{time.strftime('%X')} {stage.name} done in {minutes} min", flush=True)
        if time.time() - told > 30:
            told = time.time()
            for stage in running:
                print(f"    {stage.name}: {last_line(work / 'logs' / f'{stage.name}.log')}", flush=True)
    return len(failed) + len(waiting)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with text/, kokoro/ and real/")
    parser.add_argument("--work", type=Path, required=True, help="output folder, 30 GB")
    parser.add_argument("--campplus", type=Path, required=True, help="weights of CAM++, see speaker_targets.py")
    parser.add_argument("--whisper", type=Path, required=True, help="folder with openai/whisper-base of transformers")
    parser.add_argument("--config", type=Path, default=HERE / "mini.yaml")
    parser.add_argument("--gpus", default="0", help="CUDA devices, comma separated")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument(
        "--first", type=int, default=5000, help="lines of bulk speech to train the acoustic networks on"
    )
    parser.add_argument(
        "--resume", nargs="*", default=(), metavar="NAME=FILE", help="initial weights of a training run"
    )
    parser.add_argument("--only", nargs="*", default=(), help="names of the stages to run")
    args = parser.parse_args()
    for folder in ("logs", "out", "done", "corpus"):
        (args.work / folder).mkdir(parents=True, exist_ok=True)
    work, data = args.work.resolve(), args.data.resolve()
    starts = {name: Path(file).resolve() for name, _, file in (entry.partition("=") for entry in args.resume)}
    campplus, whisper, config = args.campplus.resolve(), args.whisper.resolve(), args.config.resolve()
    plan = stages(data, work, campplus, whisper, config, args.device, args.workers, args.first, starts)
    unknown = (set(args.only) | set(starts)) - {s.name for s in plan}
    if unknown:
        sys.exit(f"There is no stage {', '.join(sorted(unknown))}; stages: {', '.join(s.name for s in plan)}.")
    sys.exit(1 if build(plan, work, args.gpus.split(","), set(args.only)) else 0)


if __name__ == "__main__":
    main()
