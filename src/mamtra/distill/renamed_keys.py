"""Settings that have other names now. Old names are refused, not accepted silently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mamtra.errors import MamTraError

RENAMED = {
    "batch.disturbed": "batch.token_noise",
    "batch.join": "batch.concatenate_same_speaker",
    "data.held_out": "data.validation",
    "data.share": "data.fraction",
    "on_policy.share": "on_policy.fraction",
    "run.evaluate_every": "run.validate_every",
    "run.evaluate_utterances": "run.validation_utterances",
    "run.kernels": "run.use_triton",
    "listen": "evaluation",
    "evaluation.rows": "evaluation.batch_size",
    "table3.shares": "table3.fractions",
}
"""New names by old ones, of training configurations and of the experiments' settings."""


def refuse_renamed(content: Any, section: tuple[str, ...] = ()) -> None:
    """Look for old names in nested settings, whose keys may be dotted themselves.

    Raises:
        MamTraError: there is one; the message has the new name.
    """
    if not isinstance(content, Mapping):
        return
    for name, value in content.items():
        path = (*section, *str(name).split("."))
        for old in (".".join(path[-2:]), path[-1]):
            if old in RENAMED:
                raise MamTraError(f"The setting {old} is called {RENAMED[old]} now; rename {'.'.join(path)}.")
        refuse_renamed(value, path)
