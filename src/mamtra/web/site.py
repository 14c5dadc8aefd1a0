"""A folder that speaks in the browser when any web server serves it.

index.html, *.js, *.css     the page
site.json                   what there is: settings, voices, graphs, and size and SHA-256 of every file of the voice
model/                      graphs, weights, voices and text files, see `mamtra.light.export`
text.zip                    the text front end of this package
onnxruntime-web/, pyodide/  from npm
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mamtra.acoustic.receptive_field import near_field
from mamtra.checkpoints.find import FAST, find_model
from mamtra.checkpoints.model_files import CONFIG, find_beside
from mamtra.checkpoints.parts import PARTS
from mamtra.errors import MamTraError
from mamtra.light.choice import obstacle
from mamtra.light.export import GRAPHS, MANIFEST, export_onnx
from mamtra.runtime.arguments import checked
from mamtra.runtime.files import atomic_directory, check_folder, hash_files
from mamtra.runtime.json_files import read_json, write_json
from mamtra.runtime.pages import SHARED, assemble
from mamtra.text.frontend import CONFIG_FILE
from mamtra.version import VERSION
from mamtra.voices.info import read_info
from mamtra.voices.library import VoiceLibrary
from mamtra.web.packages import PACKAGES, copy_package, found_packages

SITE = "site.json"
PAGE = Path(__file__).with_name("page")
_ROOT = Path(__file__).parents[1]
_TEXT = (
    "__init__.py",
    "errors.py",
    "version.py",
    "text/**/*.py",
    "text/**/*.txt",
    "web/__init__.py",
    "web/text_in_page.py",
)
_BENEATH = ("__init__", "before_torch", "files", "lazy", "optional", "printable", "text_files")
"""Modules of `mamtra.runtime` that the text front end imports."""
_COPIED = ("page.css", "player.js", "wave.js")
_SPEAKS = ("lm", "flow_encoder", "flow_step", "pitch", "wave")
_EPOCH = (1980, 1, 1, 0, 0, 0)


@checked
def write_site(
    target: str | os.PathLike, model: str | os.PathLike = FAST, packages: str | os.PathLike | None = None
) -> Path:
    """Write the folder.

    Args:
        target: folder to make; an empty one may be there.
        model: directory or name of a model that reads phonemes and that ONNX Runtime can compute.
        packages: folder with the npm packages, see `mamtra.web.packages.copy_package`; None to have npm fetch them.

    Raises:
        MamTraError: the model cannot be exported, a package is missing, or the folder cannot be written.
    """
    target, directory = Path(target), find_model(model)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise MamTraError(f"{target} is not an empty folder; name another one, or empty it first.")
    check_folder(target)
    if problem := obstacle(directory):
        raise MamTraError(f"{problem}; no page can be made of the model.")
    text = find_beside(directory, CONFIG_FILE)
    if not text.is_file() or read_json(text).get("kind", "phonemes") != "phonemes":
        raise MamTraError(f"{directory} has no text front end that reads phonemes, which the page needs.")
    default = VoiceLibrary(directory).default()
    with found_packages(None if packages is None else Path(packages)) as found, atomic_directory(target) as made:
        for package in PACKAGES:
            copy_package(package, found, made / package.name)
        export_onnx(directory, made / "model", listens=False)
        shutil.copytree(PAGE, made, dirs_exist_ok=True)
        (made / "index.html").write_text(assemble(PAGE / "index.html"), encoding="utf-8")
        for name in _COPIED:
            shutil.copy(SHARED / name, made)
        _write_text(made / "text.zip")
        about = read_json(made / "model" / MANIFEST)
        for name in (MANIFEST, "generation_config.json"):
            (made / "model" / name).unlink()
        write_json(made / SITE, _describe(made, about, default) | {"model": directory.name})
    return target


def _describe(made: Path, about: dict[str, Any], default: str) -> dict[str, Any]:
    config, files = read_json(made / "model" / CONFIG), _hashes(made)
    voices = [read_info(path) for path in sorted((made / "model" / "voices").glob("*.safetensors"))]
    return {
        "version": VERSION,
        "packages": {package.name: package.version for package in PACKAGES},
        "config": {name: config[name] for name in ("lm", "flow", "vocoder", "sample_rate")},
        "generation": about["generation"],
        "graphs": {name: {**about["graphs"][name], "weights": PARTS[GRAPHS[name][0]].file} for name in _SPEAKS},
        "reach": near_field(SimpleNamespace(**config["vocoder"])),
        "default": default,
        "voices": [{"name": voice.name, "description": voice.description} for voice in voices],
        "files": files,
        "digest": hashlib.sha256("".join(file["sha256"] for file in files.values()).encode()).hexdigest()[:16],
    }


def _hashes(made: Path) -> dict[str, dict[str, Any]]:
    """Size and hash of every file that is not the page's own, by its path."""
    return {
        path.relative_to(made).as_posix(): {"bytes": path.stat().st_size, "sha256": hash_files(path)}
        for path in sorted(made.rglob("*"))
        if path.is_file() and path.suffix not in (".js", ".html", ".css")
    }


def _write_text(path: Path) -> None:
    """The modules of the text front end, always the same bytes."""
    found = [file for pattern in _TEXT for file in _ROOT.glob(pattern)]
    found += [_ROOT / "runtime" / f"{name}.py" for name in _BENEATH]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(found):
            entry = zipfile.ZipInfo(f"mamtra/{file.relative_to(_ROOT).as_posix()}", _EPOCH)
            packed.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
