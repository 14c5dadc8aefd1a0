"""Test sets in the forms that people have them."""

import pytest

from mamtra.audio.io import read_audio
from mamtra.errors import MamTraError
from mamtra.evaluate.sets import read_set


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_seed_tts_lists_of_two_to_five_fields(tmp_path):
    for name in ("p.wav", "t.wav"):
        write(tmp_path / "wav" / name, "")
    path = write(
        tmp_path / "meta.lst",
        "a|Say this.\nb|Say that.|wav/p.wav\nc|In the prompt.|wav/p.wav|And this.\nd|In it.|wav/p.wav|Last.|wav/t.wav\n",
    )
    a, b, c, d = read_set(path).lines
    assert (a.text, a.prompt, a.ground_truth) == ("Say this.", None, None)
    assert (b.text, b.prompt, b.prompt_text) == ("Say that.", tmp_path / "wav/p.wav", None)
    assert (c.text, c.prompt_text, c.ground_truth) == ("And this.", "In the prompt.", None)
    assert (d.text, d.ground_truth) == ("Last.", tmp_path / "wav/t.wav")


def test_columns_plain_lines_and_counted_lines(tmp_path):
    (row,) = read_set(write(tmp_path / "a.tsv", "id\ttext\tspoken\tcategory\nx\tIt is 5.\tit is five\tnumbers\n")).lines
    assert (row.id, row.text, row.reference, row.category) == ("x", "It is 5.", "it is five", "numbers")
    plain = read_set(write(tmp_path / "a.txt", "One.\n\nTwo words.\n")).lines
    assert [line.id for line in plain] == ["line0001", "line0003"] and plain[1].reference == "Two words."
    odd = read_set(write(tmp_path / "c.txt", "One\u2028line.\nAnd\x85two.\n")).lines
    assert [line.text for line in odd] == ["One\u2028line.", "And\x85two."]
    with pytest.raises(MamTraError, match="two lines with the id 'X'"):
        read_set(write(tmp_path / "d.tsv", "id\ttext\nx\tOne.\nX\tTwo.\n"))
    counted = read_set(write(tmp_path / "b.txt", "1\tOh!\n2\tNo, sir.\n")).lines
    assert [(line.text, line.category) for line in counted] == [("Oh!", "1 words"), ("No, sir.", "2 words")]


def test_comma_separated_columns(tmp_path):
    path = write(tmp_path / "a.csv", '\ufeffid,text,category\nx,"Yes, it is ""5"".",numbers\ny,"Two\nlines.",\n')
    x, y = read_set(path).lines
    assert (x.id, x.text, x.category, y.text) == ("x", 'Yes, it is "5".', "numbers", "Two\nlines.")
    for content, words in (
        ("text,voice\nHello, you.,x\n", "a.csv, line 1: no column id"),
        ("id,text\nx,Yes, it is.\n", "a.csv, line 2: more fields than columns; put texts with commas"),
        ('id,text\nx,"Yes\n', "a.csv, line"),
    ):
        with pytest.raises(MamTraError, match=words):
            read_set(write(path, content))


def test_other_files_are_no_sets(tmp_path):
    for name in ("a.jsonl", "a.npz", "a.wav"):
        with pytest.raises(MamTraError, match=f"{name} is no test set; give plain, sample, a .lst"):
            read_set(write(tmp_path / name, "Hello.\n"))


def test_columns_with_recordings(tmp_path):
    write(tmp_path / "wav" / "t.wav", "")
    path = write(
        tmp_path / "a.tsv", "id\ttext\tground_truth\tprompt\nx\tOne.\twav/t.wav\t\ny\tTwo.\t\twav/t.wav\nz\tThree.\n"
    )
    x, y, z = read_set(path).lines
    assert (x.ground_truth, x.prompt, y.ground_truth, y.prompt) == (
        tmp_path / "wav/t.wav",
        None,
        None,
        tmp_path / "wav/t.wav",
    )
    assert z.ground_truth is None and z.prompt is None


def test_libritts_folder(tmp_path):
    write(tmp_path / "84" / "121550" / "84_121550_000007_000000.normalized.txt", "Hello there.\n")
    write(tmp_path / "84" / "121550" / "84_121550_000007_000000.wav", "")
    (line,) = read_set(tmp_path).lines
    assert line.id == "84_121550_000007_000000" and line.ground_truth.name == "84_121550_000007_000000.wav"


def test_the_built_in_set_and_limit():
    assert len(read_set("plain").lines) == 24 and len(read_set("plain", 3).lines) == 3


def test_the_sample_set_is_small_and_has_sound():
    lines = read_set("sample").lines
    assert len(lines) == 6 and all(line.prompt is None and line.prompt_text is None for line in lines)
    for line in lines:
        samples, rate = read_audio(line.ground_truth)
        assert rate == 24000 and 1 < len(line.text.split()) / (len(samples) / rate) < 5 and abs(samples).max() > 0.1
    assert sum(path.stat().st_size for path in lines[0].ground_truth.parent.iterdir()) < 60_000


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.lst", "a|b\nc|d|e|f|g|h\n", r"m\.lst, line 2: 6 fields"),
        ("m.lst", "a|words|gone.wav\n", r"m\.lst, line 1: there is no sound file .*gone\.wav"),
        ("m.lst", "a|p|\u0020|  \n", r"line 1: there is no text"),
        ("m.lst", "../a|words\n", r"cannot be the id"),
        ("m.tsv", "name\ttext\n", r"line 1: no column id"),
        (
            "m.tsv",
            "id\ttext\tground_truth\na\tOne.\t\nb\tTwo.\tgone.wav\n",
            r"m\.tsv, line 3: there is no sound file .*gone\.wav",
        ),
        ("m.tsv", "id\ttext\tprompt\na\tOne.\tgone.wav\n", r"m\.tsv, line 2: there is no sound file .*gone\.wav"),
        ("m.txt", "\n\n", r"holds no utterance"),
        ("m.lst", "a|one\na|two\n", r"two lines with the id 'a'"),
    ],
)
def test_bad_lists_name_the_line(tmp_path, name, text, message):
    with pytest.raises(MamTraError, match=message):
        read_set(write(tmp_path / name, text))


def test_no_such_set(tmp_path):
    with pytest.raises(MamTraError, match="no test set"):
        read_set(tmp_path / "none.lst")
