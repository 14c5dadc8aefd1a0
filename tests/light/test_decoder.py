from __future__ import annotations

from pathlib import Path

import mamtra
from mamtra.light.decoder import ROWS, Decoder, _Segment
from mamtra.light.run import start_run
from mamtra.synthesis.pipeline import Request
from tests.factories import tiny_model


def test_shorter_sentences_join_one_that_was_alone(tmp_path: Path) -> None:
    tts = mamtra.load(tiny_model(tmp_path), runtime="onnx")
    request, decoder = Request(tts.model, tts.voice()), Decoder()
    texts = [list(tts.model.text.segments(text)[0].ids) for text in ("hello there " * 9, "hello", "there")]
    alone = [list(start_run(request, ids, request.seed_of(index, 0))) for index, ids in enumerate(texts)]
    assert len(alone[0]) > 2 * len(alone[1]) > 0
    segments = [_Segment(request, ids, index) for index, ids in enumerate(texts)]
    counts = list[int]()
    for segment in segments:
        decoder._begin(segment)
        counts.append(decoder._rows.count)
        decoder._step()
    while decoder._active:
        decoder._step()
    assert [segment.kept.result().tokens for segment in segments] == alone
    assert counts == [1, ROWS, ROWS]
