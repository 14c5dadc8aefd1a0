from pathlib import Path

import build


def plan(tmp_path: Path) -> list[build.Stage]:
    return build.stages(
        tmp_path / "data", tmp_path / "work", tmp_path / "c.pt", tmp_path / "w", tmp_path / "m.yaml", "cpu", 2, 10, {}
    )


def test_every_stage_waits_for_all_that_it_reads(tmp_path):
    """Also where the stages between are skipped, because their results are there already."""
    stages, corpus = plan(tmp_path), tmp_path / "work" / "corpus"
    makers = {str(stage.done): stage.name for stage in stages}
    makers |= {str(tmp_path / "work" / "embeddings.npz"): "speaker"}
    folders = {"kokoro": "kokoro", "real": "real", "hibari_first": "speak_first", "hibari_rest": "speak_rest"}
    makers |= {str(corpus / folder): name for folder, name in folders.items()}
    read = {
        (stage.name, makers[argument])
        for stage in stages
        for argument in stage.command
        if makers.get(argument, stage.name) != stage.name
    }
    assert len(read) > 20
    assert read <= {(stage.name, need) for stage in stages for need in stage.needs}


def test_the_plan_can_be_walked(tmp_path):
    seen = set()
    for stage in plan(tmp_path):
        seen.add(stage.name)
    assert all(set(stage.needs) <= seen for stage in plan(tmp_path))
