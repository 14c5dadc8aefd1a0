"""Model directories from the Hugging Face hub: only files that MamTra reads, checked against the hub's hashes."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from mamtra.checkpoints.cosyvoice.files import LANGUAGE_MODELS, REINFORCED
from mamtra.errors import MamTraError
from mamtra.runtime.files import check_folder, hash_files
from mamtra.runtime.optional import need

NATIVE = ("*.json", "*.safetensors", "voices/*.safetensors", "*.xz", "README.md", "LICENSE*")
COSYVOICE = (
    "cosyvoice*.yaml", "llm.pt", "flow.pt", "hift.pt", "campplus.onnx", "speech_tokenizer_v?.onnx", "spk2info.pt",
    "CosyVoice-BlankEN/*.json", "CosyVoice-BlankEN/*.txt",
)  # fmt: skip
PATTERNS = (*NATIVE, *COSYVOICE)
"""What a native directory, a transformers one or one of CosyVoice 2 or 3 needs; compiled engines and sample recordings are left
out. A ``*`` takes slashes too, as everywhere on the hub."""
UNREAD = ("CosyVoice-BlankEN/*.safetensors",)
"""Files of those names that nothing reads: llm.pt holds the language model whole."""

_NEEDS = ("A model of the Hugging Face hub", "'mamtra[hub]'")
USUAL = LANGUAGE_MODELS[0]
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""OWNER/NAME."""


def pull(
    repo: str,
    out: Path,
    revision: str | None = None,
    tell: Callable[[str, int, int], None] = lambda *_: None,
    *,
    reinforced: bool = False,
) -> Path:
    """Download a model. Complete files are kept; an interrupted download is resumed.

    Args:
        repo: OWNER/NAME on the hub (that of the environment's HF_ENDPOINT).
        out: directory to fill; made where it does not exist.
        revision: branch, tag or commit; the main branch by default.
        tell: called with name, number and count once a file is complete.
        reinforced: take CosyVoice 3's llm.rl.pt in place of llm.pt.

    Raises:
        MamTraError: there is no such model or no network, it holds no file that MamTra reads, or the hash of a file differs from
            the hub's; there is no llm.rl.pt, or an llm.pt that would be used instead.
    """
    if not HUB_NAME.fullmatch(repo) or ".." in repo:
        raise MamTraError(f"{repo!r} is no name of a model; models on the Hugging Face hub are called OWNER/NAME.")
    check_folder(out)
    if reinforced and (out / USUAL).is_file():
        raise MamTraError(f"{out} has {USUAL}, which would be used instead of {REINFORCED}; name another directory.")
    need("huggingface_hub", *_NEEDS)
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.utils import filter_repo_objects

    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
    except Exception as error:
        at = f" at {revision}" if revision else ""
        raise MamTraError(
            f"There is no model {repo!r}{at} on the Hugging Face hub, or no way to it; check name and network."
        ) from error
    patterns = [REINFORCED if reinforced and pattern == USUAL else pattern for pattern in PATTERNS]
    wanted = list(
        filter_repo_objects(
            info.siblings or (), allow_patterns=patterns, ignore_patterns=list(UNREAD), key=lambda file: file.rfilename
        )
    )
    if not wanted:
        raise MamTraError(f"{repo} holds no model that can be read here: no safetensors, no llm.pt.")
    if reinforced and not any(file.rfilename == REINFORCED for file in wanted):
        raise MamTraError(f"{repo} has no {REINFORCED}; pull it without asking for that file.")
    for file in wanted:
        _check_name(repo, file.rfilename)
    for number, file in enumerate(wanted, 1):
        try:
            path = Path(hf_hub_download(repo, file.rfilename, revision=info.sha, local_dir=out))
        except Exception as error:
            raise MamTraError(
                f"{file.rfilename} of {repo} could not be downloaded; run the command again to go on."
            ) from error
        if _differs(path, file.lfs.sha256 if file.lfs else file.blob_id or ""):
            path.unlink()
            raise _damaged(file.rfilename, repo)
        tell(file.rfilename, number, len(wanted))
    return out


def snapshot(repo: str, patterns: Sequence[str]) -> Path:
    """A model in the cache of the hub's library, fetched where it is not there; what arrives is compared with the hub's hashes.

    Args:
        repo: OWNER/NAME on the hub.
        patterns: of the files to fetch.

    Raises:
        MamTraError: the hash of a file differs.
        Exception: what the library raises where there is no such model or no way to the hub.
    """
    library = need("huggingface_hub", *_NEEDS)
    began = time.time()
    folder = Path(library.snapshot_download(repo, allow_patterns=list(patterns), ignore_patterns=list(UNREAD)))
    for path in folder.rglob("*"):
        blob = path.resolve()  # the cache names a blob by its hash
        if blob.is_file() and blob.stat().st_mtime >= began - 1 and _differs(blob, blob.name):
            blob.unlink()
            path.unlink(missing_ok=True)
            raise _damaged(path.relative_to(folder).as_posix(), repo)
    return folder


def _differs(path: Path, expected: str) -> bool:
    """Whether a file has another hash than the hub gives: SHA-256 of a large file, Git's of a small one."""
    if len(expected) == 64:
        return hash_files(path) != expected
    if len(expected) == 40:
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() != expected
    return False


def _damaged(name: str, repo: str) -> MamTraError:
    return MamTraError(f"{name} of {repo} arrived damaged and was deleted; run the command again.")


def _check_name(repo: str, name: str) -> None:
    """Refuse a name that would be written outside the directory."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise MamTraError(f"{repo} names the file {name!r}, which lies outside the model; do not use this model.")
