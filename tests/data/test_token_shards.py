"""Token shards read back what was written, and refuse what is damaged."""

import json

import numpy as np
import pytest

from mamtra.data.token_sets import import_token_set
from mamtra.data.token_shards import MANIFEST, TokenShards, Utterance, write_corpus
from mamtra.errors import MamTraError
from tests.distill.corpora import make_corpus


def rows(count=7, large=200):
    rng = np.random.default_rng(0)
    return [Utterance(rng.integers(0, large, 3 + i), rng.integers(0, 6561, 5 + i), i % 2, 0) for i in range(count)]


@pytest.mark.parametrize("large", [200, 150_000])
def test_what_is_written_is_read_back(tmp_path, large):
    wanted = rows(large=large)
    write_corpus(
        tmp_path, wanted, per_shard=3, num_speech_tokens=6561, text_vocab_size=large, speakers=["a", "b"], sources=["x"]
    )
    found = TokenShards(tmp_path)
    assert len(found) == 7 and len(found.manifest.shards) == 3
    for row in (6, 0, 3, 2):
        assert np.array_equal(found[row].text, wanted[row].text)
        assert np.array_equal(found[row].speech, wanted[row].speech)
        assert found[row].speaker == found.speaker[row] == row % 2
    assert found.speech_len.tolist() == [len(u.speech) for u in wanted]


def test_equal_corpora_are_equal_files(tmp_path):
    for name in ("one", "two"):
        make_corpus(tmp_path / name)
    one, two = (sorted((tmp_path / name).iterdir()) for name in ("one", "two"))
    assert [f.read_bytes() for f in one] == [f.read_bytes() for f in two]


def damage(directory, how):
    shard = directory / "shard-00001.safetensors"
    content = bytearray(shard.read_bytes())
    if how == "missing":
        shard.unlink()
    elif how == "empty":
        shard.write_bytes(b"")
    elif how == "short":
        shard.write_bytes(content[: len(content) // 2])
    else:
        content[-3] ^= 1
        shard.write_bytes(content)


@pytest.mark.parametrize(
    ("how", "verify"),
    [("missing", True), ("empty", True), ("short", True), ("changed", True), ("empty", False), ("short", False)],
)
def test_damaged_shards_are_named(tmp_path, how, verify):
    make_corpus(tmp_path)
    damage(tmp_path, how)
    with pytest.raises(MamTraError, match=r"shard-00001\.safetensors"):
        TokenShards(tmp_path, verify=verify)


def test_manifests_are_checked(tmp_path):
    with pytest.raises(MamTraError, match="mamtra prepare"):
        TokenShards(tmp_path)
    make_corpus(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    for change, what in (
        ({"format": 9}, "format 9"),
        ({"shards": []}, "no utterances"),
        ({"extra": 1}, "extra: extra inputs"),
        ({"speech_codes": 27}, "'speech_codes' is called 'num_speech_tokens' now"),
    ):
        (tmp_path / MANIFEST).write_text(json.dumps(manifest | change))
        with pytest.raises(MamTraError, match=what):
            TokenShards(tmp_path)


def test_ids_beyond_the_vocabulary_are_refused(tmp_path):
    write_corpus(tmp_path, rows(), num_speech_tokens=10, text_vocab_size=200, speakers=["a", "b"], sources=["x"])
    with pytest.raises(MamTraError, match="speech ids outside 0 to 9"):
        TokenShards(tmp_path)[0]


def test_token_sets_are_imported(tmp_path):
    wanted = rows()
    np.savez(
        tmp_path / "tokens.npz",
        speech=np.concatenate([u.speech for u in wanted]).astype(np.uint16),
        speech_len=np.array([len(u.speech) for u in wanted], np.uint16),
        text=np.concatenate([u.text for u in wanted]).astype(np.uint8),
        text_len=np.array([len(u.text) for u in wanted], np.uint16),
        speaker=np.array([u.speaker for u in wanted], np.uint16),
        speakers=np.array(["a", "b"]),
        source=np.zeros(7, np.uint8),
        sources=np.array(["x"]),
    )
    import_token_set(tmp_path / "tokens.npz", tmp_path / "out", text_vocab_size=200, per_shard=3)
    found = TokenShards(tmp_path / "out")
    assert found.manifest.speakers == ["a", "b"]
    assert all(np.array_equal(found[i].speech, wanted[i].speech) for i in range(7))
    assert all(np.array_equal(found[i].text, wanted[i].text) for i in range(7))
    with pytest.raises(MamTraError, match="text ids outside 0 to 19"):
        import_token_set(tmp_path / "tokens.npz", tmp_path / "no", text_vocab_size=20)
    for part in ("speech", "text"):
        lengths = {"speech_len": [2, 1], "text_len": [1, 1], f"{part}_len": [3 if part == "speech" else 2, 0]}
        np.savez(tmp_path / "empty.npz", speech=[1, 2, 3], text=[5, 6], **lengths)
        with pytest.raises(MamTraError, match=f"utterance 2 has no {part} ids"):
            import_token_set(tmp_path / "empty.npz", tmp_path / "no", text_vocab_size=20)
    (tmp_path / "broken.npz").write_bytes(b"nothing")
    with pytest.raises(MamTraError, match="not a token set"):
        import_token_set(tmp_path / "broken.npz", tmp_path / "no", text_vocab_size=200)


TOKEN_SET = {
    "speech": [1, 2, 3],
    "speech_len": [1, 2],
    "text": [5, 6],
    "text_len": [1, 1],
    "speaker": [0, 1],
    "speakers": ["a", "b"],
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"speech": [1, -2, 3]}, "speech ids outside 0 to 6560"),
        ({"speech": [1.0, float("nan"), 3.0]}, "each a list of whole numbers"),
        ({"speech": [[1, 2, 3]]}, "each a list of whole numbers"),
        ({"text": ["a", "b"]}, "each a list of whole numbers"),
        ({"speech_len": 3}, "each a list of whole numbers"),
        ({"speech_len": [-1, 4]}, "do not add up"),
        ({"speech_len": [2**62, 2**62 + 3]}, "do not add up"),
        ({"speech_len": [3]}, "do not add up"),
        ({"speaker": [0, 2]}, "each utterance one of the speakers"),
        ({"speaker": [0, -1]}, "each utterance one of the speakers"),
        ({"speaker": [0]}, "each utterance one of the speakers"),
    ],
)  # fmt: skip
def test_odd_token_sets_are_refused(tmp_path, change, said):
    np.savez(tmp_path / "t.npz", **(TOKEN_SET | change))
    with pytest.raises(MamTraError, match=said):
        import_token_set(tmp_path / "t.npz", tmp_path / "out", text_vocab_size=20)
    assert not (tmp_path / "out").exists()
