"""Commands and snippets of README.md and docs/*.md run as they are written, in the order of the page.

A comment `<!-- test: skip REASON -->` before a block says why it does not run (a GPU, the network, hours); the verbs and
options of its commands are checked all the same. A `text` block after commands shows what the first of them prints.
Files and models that a page names are small stand-ins, made by `STAND_INS`.
"""

from __future__ import annotations

import importlib.util
import io
import json
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml

from mamtra.checkpoints.find import ASSETS
from mamtra.cli import main
from mamtra.cli.app import build
from mamtra.conversion.ranking_table import RankingHeader, Row
from mamtra.evaluate.sentences import read_sentences
from tests.factories import reference, tiny_model
from tests.foreign import cosyvoice_directory
from tests.tiny_onnx import write_onnx_files

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:<!-- test: skip (?P<skip>[^>]+?) -->\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.M | re.S)
MARKER = re.compile(r"<!-- test: .*? -->")

pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="documentation is not part of this copy")


@dataclass
class Block:
    kind: str
    body: str
    skip: str

    @property
    def commands(self) -> list[list[str]]:
        """Words of each line; a pipe stands as a word."""
        lines = self.body.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(each["kind"], each["body"], each["skip"] or "") for each in found]


def cosyvoice(path: Path) -> None:
    cosyvoice_directory(path, layers=24)
    write_onnx_files(path)


def ranking(path: Path) -> None:
    layers = range(24)
    rows = [Row(step=0, layer=layer, score=-layer, seconds=0.0) for layer in layers]
    header = RankingHeader(model={}, criterion="kl", num_layers=len(layers), candidates=tuple(layers))
    path.write_text("".join(f"{each.model_dump_json()}\n" for each in (header, *rows)))


def built_in(assets: Path) -> None:
    """A tiny model in place of the built-in one, with its text front end."""
    tiny_model(assets / "mini")
    for name in TEXT_FILES:
        shutil.copyfile(ASSETS / "mini" / name, assets / "mini" / name)


class StubTranscriber:
    """In place of Whisper: the same words for every sound."""

    def __init__(self) -> None:
        self.about = {"asr": "stub"}

    def __call__(self, samples, sample_rate):
        return "good evening"


def sounds(folder: Path) -> None:
    """A folder with a sound of the built-in set."""
    folder.mkdir()
    reference(folder / "s1.wav", 1.0)


def listed(path: Path) -> None:
    """A set of two lines with recordings."""
    reference(path.with_name("one.wav"), 1.0)
    path.write_text("a|||Hello there.|one.wav\nb|||Good morning.|one.wav\n")


def reader(path: Path) -> None:
    """A tiny model with the text front end of the built-in one."""
    tiny_model(path)
    for name in TEXT_FILES:
        shutil.copyfile(ASSETS / "mini" / name, path / name)


def token_set(path: Path) -> None:
    np.savez(path, speech=np.arange(9), speech_len=[4, 5], text=np.arange(1, 6), text_len=[2, 3])


def recordings(folder: Path) -> None:
    """A tree of LibriTTS with three recordings."""
    place = folder / "100" / "121"
    place.mkdir(parents=True)
    for number, name in enumerate("abc"):
        reference(place / f"{name}.wav", 2.0 + number / 4)
        (place / f"{name}.normalized.txt").write_text("Hello there.")


def training(path: Path) -> None:
    """Settings of the page for a training of a second."""
    path.write_text(
        "{out: runs/x, teacher: {model: CosyVoice2-0.5B}, student: {ratio: '1:1'}, data: {train: tokens, validation: 0.3},"
        " batch: {tokens: 200}, run: {epochs: 1, precision: float32, device: cpu}}"
    )


def results(folder: Path) -> None:
    folder.mkdir()
    shutil.copyfile(ROOT / "docs" / "results" / "fig4.json", folder / "fig4.json")


def texts(path: Path) -> None:
    """Two texts to speak, as they are or as objects."""
    rows = ["Hello there.", "Good morning."]
    path.write_text("\n".join(json.dumps({"text": row}) if path.suffix == ".jsonl" else row for row in rows))


TEXT_FILES = ("lexicon.txt.xz", "letter_to_sound.safetensors", "text.json", "tokenizer.json")
STAND_INS = {
    "CosyVoice2-0.5B": cosyvoice,
    "SRC": cosyvoice,
    "META.lst": listed,
    "meta.lst": listed,
    "teacher ": reader,
    "student ": reader,
    "MODEL ": reader,
    "models/mini-teacher": reader,
    "tokens.npz": token_set,
    "LibriTTS/train-clean-100": recordings,
    "distill.yaml": training,
    '"results"': results,
    "my-hybrid": tiny_model,
    "book.txt": texts,
    "lines.jsonl": texts,
    "me.wav": reference,
    "ref.wav": reference,
    "wavs/": sounds,
    "ranking-kl.jsonl": ranking,
    "ranking-wer.jsonl": ranking,
}
"""What makes the file or folder of a name that pages use."""


def options_exist(words: list[str]) -> None:
    """The verb and the options of a command of this program exist."""
    command = typer.main.get_command(build())
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    assert not hasattr(command, "commands"), f"no verb in {words}"
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if re.match(r"--?[a-z]", word):
            assert word.partition("=")[0] in known, f"{command.name} has no option {word}"


def run_line(words: list[str], monkeypatch) -> None:
    """Run a line of a shell: commands of this program; targets of the Makefile and benchmarks by name."""
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
        assert all(word in targets for word in words[1:] if "=" not in word)
        return
    parts = [part.split("\0") for part in "\0".join(words).split("\0|\0")]
    if words[0] == "python" and words[1].startswith("benchmarks/"):  # these have tests of their own
        assert (ROOT / words[1]).is_file()
        return
    own = [part[1:] for part in parts if part[0] == "mamtra"]
    assert len(own) == 1, f"nothing of this program in {words}; mark the block"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Some text.\n")))
    shutil.rmtree("DST", ignore_errors=True)
    assert main(own[0]) == 0, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_what_happens(page, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAMTRA_HOME", str(tmp_path / "home"))
    built_in(tmp_path / "assets")
    monkeypatch.setattr("mamtra.checkpoints.find.ASSETS", tmp_path / "assets")
    monkeypatch.setattr("mamtra.evaluate.judges.asr.open_transcriber", lambda *_: StubTranscriber())
    monkeypatch.setattr("mamtra.ranking.api.read_sentences", lambda path: read_sentences(path)[:4])
    found = blocks(page)
    for name, make in STAND_INS.items():
        if any(name in block.body for block in found if not block.skip):
            make(tmp_path / name.strip(' "'))
    shown: list[str] = []
    namespace: dict[str, object] = {}
    for block in found:
        if block.kind == "sh":
            shown = []
            for words in block.commands:
                if block.skip:
                    if words[0] == "mamtra":
                        options_exist(words[1:])
                    continue
                capfd.readouterr()
                run_line(words, monkeypatch)
                shown.append("\n".join(line.rstrip() for line in capfd.readouterr().out.splitlines()).strip())
        elif block.kind == "text" and shown:
            assert shown[0] == block.body.strip()
        elif block.kind == "python":
            code = compile(block.body, str(page), "exec")
            if not block.skip:
                exec(code, namespace)
        elif block.kind == "yaml":
            yaml.safe_load(block.body)
        elif block.kind == "toml":
            assert block.body in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_marker_stands_before_a_block(page):
    assert len(MARKER.findall(page.read_text(encoding="utf-8"))) == sum(bool(block.skip) for block in blocks(page))


def test_the_python_interface_is_that_of_the_docstrings():
    pytest.importorskip("transformers", reason="needs transformers, of the extra hf")
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "docs" / "make_api.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.PAGE.read_text(encoding="utf-8") == made.page(), "run: python docs/make_api.py"
