"""What goes to the hub is what a saved directory holds."""

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("transformers")

from mamtra.checkpoints.native import load_part
from mamtra.hf import MamTraConfig, MamTraForCausalLM
from tests.factories import tiny_parts


def test_pushed_files_are_a_model_directory(tmp_path, monkeypatch):
    model = MamTraForCausalLM(MamTraConfig.of(tiny_parts()["lm"].config))
    pushed = {}

    def upload(self, folder, repo_id, *args, **kwargs):
        pushed[repo_id] = {path.name: path.read_bytes() for path in Path(folder).iterdir()}

    def api():
        return SimpleNamespace(create_repo=lambda repo_id, **_: SimpleNamespace(repo_id=repo_id))

    monkeypatch.setattr(MamTraForCausalLM, "_upload_modified_files", upload)
    monkeypatch.setattr("transformers.utils.hub.hf_api", api)
    card = SimpleNamespace(save=lambda path: None)  # asked of the hub
    monkeypatch.setattr("transformers.utils.hub.create_and_tag_model_card", lambda *_, **__: card)
    model.push_to_hub("someone/hybrid")
    files = pushed["someone/hybrid"]
    assert {"config.json", "model.safetensors"} <= set(files) and "generation_config.json" not in files
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert load_part(tmp_path, "lm").config == model.config.sizes
