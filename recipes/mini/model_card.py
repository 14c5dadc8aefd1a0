"""README.md of a model directory: description, training data, licences and measured figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mamtra.checkpoints.parts import PARTS
from mamtra.runtime.files import write_text
from mamtra.runtime.results import markdown_table

HEAD = """---
license: apache-2.0
language: en
library_name: mamtra
pipeline_tag: text-to-speech
---

# {name}

The embedded voice of MamTra: American English text to speech, small enough to come with the package and fast on two CPU cores.
A speech language model reads phonemes and writes speech tokens (25 a second); a flow turns these into a spectrogram in the
sound of a voice, a vocoder turns that into sound at 24 kHz. The language model is a hybrid of attention and Mamba layers,
converted from an all-attention teacher and distilled from it (MamTra, arXiv 2603.12342).

    import mamtra
    mamtra.load().say("Hello").save("hello.mp3")

Speech made with it is synthetic: say so where it matters, and clone only voices whose owner agrees. It reads English alone,
one speaker at a time, and was not made to tell truth from error in what it is given to read.
"""

SOURCES = (
    ("hibari-tts", "the bulk of the speech: one synthetic voice, distilled from Kokoro af_heart", "Apache-2.0"),
    ("Kokoro-82M v1.0 (hexgrad)", "54 synthetic voices, and mixtures of them", "Apache-2.0"),
    ("LibriSpeech train-clean-100 and test-other: V. Panayotov, G. Chen, D. Povey, S. Khudanpur, ICASSP 2015",
     "251 and 10 people reading, cut at the ends", "CC BY 4.0"),
    ("CSTR VCTK Corpus: J. Yamagishi, C. Veaux, K. MacDonald, 2019",
     "108 of its speakers as voices of a VITS (T145/vctk-vits-speaker-comparison, MIT)", "CC BY 4.0"),
    ("The LJ Speech Dataset 1.1: K. Ito, L. Johnson, 2017", "one person reading; also sentences", "public domain"),
    ("rhasspy cathy", "one person reading", "CC0 1.0"),
    ("LibriTTS train-clean-100: H. Zen et al., Interspeech 2019", "sentences without their sound, a selection", "CC BY 4.0"),
    ("CAM++ of 3D-Speaker",
     "weights of the speaker encoder, trained on for 4 bits and noise; embeddings for the flow's training", "Apache-2.0"),
    ("Whisper base (OpenAI)", "layers of the speech tokenizer; states that the tokens were trained to predict", "MIT"),
    ("American English dictionaries of misaki (hexgrad)", "readings of words", "Apache-2.0"),
)  # fmt: skip


def figures(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Numbers in a nested record, each with its path."""
    if isinstance(value, dict):
        return [row for name, inner in value.items() for row in figures(inner, f"{path} {name}".strip())]
    return [(path, value)] if isinstance(value, (int, float)) else []


def write_card(directory: Path, provenance: dict[str, Any]) -> Path:
    """Write README.md into an otherwise complete model directory."""
    plan, stages = provenance["plan"], provenance["stages"]
    ratio = f", {plan['ratio']} {plan['strategy']}" if "ratio" in plan else ""
    layers = plan["layer_types"]
    parts = [
        (
            part.file,
            part.purpose,
            provenance["storage"][part.section],
            f"{(directory / part.file).stat().st_size / 2**20:.2f}",
        )
        for part in PARTS.values()
        if part.section in provenance["storage"]
    ]
    data = [(name, row["utterances"], row["hours"]) for name, row in provenance["data"].items()]
    measured = [
        (stage, name, value)
        for stage, record in stages.items()
        for name, value in figures(
            {key: record[key] for key in ("steps", "minutes", "hours", "measured") if key in record}
        )
    ]
    sections = [
        HEAD.format(name=directory.resolve().name),
        "## Parts\n",
        f"{len(layers)} layers, {layers.count('full_attention')} of them attention and "
        f"{layers.count('linear_attention')} Mamba-2{ratio}.\n",
        markdown_table(("file", "what it does", "storage", "MiB"), parts, numbers=False),
        "\n## Training data\n",
        markdown_table(("source", "used for", "licence"), SOURCES, numbers=False),
    ]
    if data:
        sections += [
            "\nTokens of the language model, by where their text comes from:\n",
            markdown_table(("source", "utterances", "hours"), data),
        ]
    sections += [
        "\n## Measured in training\n",
        "Figures whose name says so are of held-out material. The quality of the speech is measured by `mamtra evaluate`.\n",
        markdown_table(("stage", "figure", "value"), measured),
        "\nprovenance.json holds hashes, seeds, and where every tensor of the language model comes from.\n",
        "## Licence\n",
        "Apache-2.0. Whoever passes the model on passes on the names of the sources above.\n",
    ]
    path = directory / "README.md"
    write_text(path, "\n".join(sections))
    return path
