"""The development set: every source is in it, and `mamtra evaluate` reads it."""

from collections import Counter

from development_set import main, rows

from mamtra.evaluate.sentences import read_sentences
from mamtra.evaluate.sets import read_set


def test_all_sources(tmp_path, monkeypatch):
    (tmp_path / "dev_sentences.tsv").write_text("id\tcategory\ttext\tspoken\nd1\tnumber\tIt is 5.\tit is five\n")
    (tmp_path / "harvard_sentences.txt").write_text("The birch canoe slid on the planks.\n")
    (tmp_path / "cmuarctic.txt").write_text("".join(f"Sentence number {n}.\n" for n in range(100)))
    found = list(rows(tmp_path))
    assert Counter(category for _, category, _, _ in found) == {
        "number": 1, "plain_set": len(read_sentences()), "harvard": 1, "list": 60, "arctic": 46,
    }  # fmt: skip
    out = tmp_path / "development.tsv"
    monkeypatch.setattr("sys.argv", ["development_set.py", "--text", str(tmp_path), "--out", str(out)])
    main()
    lines = read_set(str(out)).lines
    assert [(line.id, line.category, line.text, line.reference) for line in lines] == found
