"""Model directories from the Hugging Face hub: only the files that are read here, checked against the hub's own hashes."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from pathlib import Path

from mamtra.errors import MamTraError
from mamtra.runtime.files import hash_files

NATIVE = ("*.json", "*.safetensors", "voices/*.safetensors", "*.xz", "README.md", "LICENSE*")
COSYVOICE = (
    "cosyvoice*.yaml", "llm.pt", "flow.pt", "hift.pt", "campplus.onnx", "speech_tokenizer_v*.onnx", "spk2info.pt",
    "CosyVoice-BlankEN/*.json", "CosyVoice-BlankEN/*.txt",
)  # fmt: skip
PATTERNS = (*NATIVE, *COSYVOICE)
"""What a native directory, a transformers one or one of CosyVoice 2 needs; engines' compiled files and sample sounds stay there."""


def pull(
    repo: str, out: Path, revision: str | None = None, tell: Callable[[str, int, int], None] = lambda *_: None
) -> Path:
    """Download a model. Files that are there already and whole are kept, a file that was cut off is gone on with.

    Args:
        repo: OWNER/NAME on the hub (that of the environment's HF_ENDPOINT).
        out: directory to fill; made where it does not exist.
        revision: branch, tag or commit; the main branch by default.
        tell: called with the name, number and count of every file that is complete.

    Raises:
        MamTraError: there is no such model or no way to it, it holds nothing that can be read here, or a file is not what the
            hub says it is.
    """
    from huggingface_hub import HfApi, hf_hub_download

    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
    except Exception as error:
        at = f" at {revision}" if revision else ""
        raise MamTraError(
            f"There is no model {repo!r}{at} on the Hugging Face hub, or no way to it; check name and network."
        ) from error
    wanted = [f for f in info.siblings or () if any(fnmatch.fnmatch(f.rfilename, pattern) for pattern in PATTERNS)]
    if not wanted:
        raise MamTraError(f"{repo} holds no model that can be read here: no safetensors, no llm.pt.")
    for number, file in enumerate(wanted, 1):
        try:
            path = Path(hf_hub_download(repo, file.rfilename, revision=info.sha, local_dir=out))
        except Exception as error:
            raise MamTraError(
                f"{file.rfilename} of {repo} could not be downloaded; run the command again to go on."
            ) from error
        expected = file.lfs.sha256 if file.lfs else None
        if expected and hash_files(path) != expected:
            path.unlink()
            raise MamTraError(f"{file.rfilename} of {repo} arrived damaged and was deleted; run the command again.")
        tell(file.rfilename, number, len(wanted))
    return out
