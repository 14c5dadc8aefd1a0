import hold_out
import numpy as np
from tokens import TokenSet


def test_every_row_is_in_one_half(tmp_path):
    rng, lengths = np.random.default_rng(0), np.arange(1, 251) % 7 + 1
    names = {"speakers": np.array(["a", "b"]), "sources": np.array(["x"])}
    np.savez_compressed(
        tmp_path / "tokens.npz",
        speech=rng.integers(0, 6561, lengths.sum()).astype(np.uint16),
        text=rng.integers(1, 90, 3 * 250).astype(np.uint8),
        speech_len=lengths.astype(np.uint16),
        text_len=np.full(250, 3, np.uint16),
        speaker=(np.arange(250) % 2).astype(np.uint16),
        source=np.zeros(250, np.uint8),
        **names,
    )
    assert hold_out.split(tmp_path / "tokens.npz", tmp_path / "train.npz", tmp_path / "held.npz") == (247, 3)
    whole, train, held = (TokenSet.load(tmp_path / f"{name}.npz") for name in ("tokens", "train", "held"))
    for row, (half, at) in {0: (held, 0), 100: (held, 1), 200: (held, 2), 1: (train, 0), 249: (train, 246)}.items():
        assert np.array_equal(half.codes(at), whole.codes(row)) and np.array_equal(half.ids(at), whole.ids(row))
        assert half.speaker[at] == whole.speaker[row]
