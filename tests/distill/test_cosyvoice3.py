"""CosyVoice 3 is distilled as it is spoken with: its opening comes before every text."""

import numpy as np
import pytest
import torch

import mamtra
from mamtra.checkpoints.open_lm import open_language_model
from mamtra.distill.api import distill
from mamtra.distill.distributed import Processes
from mamtra.distill.models import read_opening
from mamtra.distill.setup import set_up
from mamtra.models.layout import IGNORE, SOS, TASK, TEXT
from tests.distill.corpora import make_corpus
from tests.distill.runs import setting
from tests.foreign3 import cosyvoice3_directory


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("distill")
    cosyvoice3_directory(place / "teacher")
    make_corpus(place / "corpus", 40, vocabulary=300, codes=27, longest=30)
    return place


@pytest.fixture(scope="module")
def opening(folder):
    found = read_opening(open_language_model(folder / "teacher"))
    assert found == mamtra.load(folder / "teacher").model.text.opening and len(found) > 1
    return found


def first_step(config):
    parts = set_up(config, Processes(0, 1, torch.device("cpu")))
    return parts, parts.loader.next_step()


@pytest.mark.parametrize("fixed", [False, True])
def test_the_opening_is_read_before_every_text(folder, opening, fixed):
    batch = {"layout": "mixed", "concatenate_same_speaker": 0.5, "tokens": 300}
    config = setting(folder, f"order-{fixed}", batch=batch, run={"cuda_graph": fixed})
    parts, step = first_step(config)
    corpus, fills, joined = parts.corpus.train, 0, 0
    for made, batch in zip(step.inputs, step.batches, strict=True):
        assert not fixed or made["kind"].shape == (batch.rows, batch.length)
        assert made["kind"].shape[1] <= batch.length
        for members, kind, ids, targets in zip(batch.members, made["kind"], made["ids"], made["targets"], strict=False):
            count = len(opening)
            assert kind[0] == SOS and ids[1 : 1 + count].tolist() == opening
            assert (kind[1 : 1 + count] == TEXT).all() and (targets[: 1 + count] == IGNORE).all()
            words = np.concatenate([corpus[row].text for row in members])
            assert ids[kind == TEXT].tolist() == [*opening, *words] and (kind == TASK).sum() == 1
            fills, joined = fills + int((targets == 30).sum()), joined + (len(members) > 1)
    assert fills and joined
    for made in parts.validation._batches:
        rows = made["ids"][made["kind"][:, 0] == SOS]
        assert len(rows) and (rows[:, 1 : 1 + len(opening)] == torch.tensor(opening)).all()


def test_stored_outputs_lie_where_speech_is_predicted(folder):
    config = setting(folder, "cached", teacher={"cache": str(folder / "cache"), "top_k": 8}, losses={"emb_weight": 0.0})
    parts, step = first_step(config)
    for made in step.inputs:
        aimed = made["targets"] != IGNORE
        assert (made["top_log_p"][aimed] < 0).all() and (made["top_log_p"][~aimed] == 0).all()
        with torch.no_grad():
            logits = parts.teacher.logits(parts.teacher(parts.teacher.embed(made["kind"], made["ids"])))
        assert torch.equal(logits[aimed].argmax(-1), made["top_ids"][aimed][:, 0].long())


def test_a_hybrid_learns_and_speaks(folder, opening):
    config = setting(
        folder, "run", batch={"layout": "mixed"}, on_policy={"fraction": 0.5},
        run={"steps": 4, "validate_every": 0, "save_every": 0, "log_every": 1},
    )  # fmt: skip
    made = distill(config)
    tts = mamtra.load(made.student, text_rules="none")
    assert tts.model.text.opening == opening == read_opening(open_language_model(made.student))
    assert tts.model.lm.config.layer_types.count("linear_attention") == 2
    assert tts.say("hello there.", "ann").tokens and made.validation["ce"] > 0
