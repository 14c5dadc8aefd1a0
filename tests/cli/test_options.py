"""No option is silently ignored."""

import pytest

from mamtra.cli import main


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("evaluate mini --rater utmos", "--rater"),
        ("evaluate mini --encoder wavlm", "--encoder"),
        ("evaluate mini --config versa.yaml --mos", "--mos"),
        ("evaluate mini --config versa.yaml --similarity", "--similarity"),
        ("rank mini --criterion kl --whisper base", "--whisper"),
        ("rank mini --criterion kl --part attention", "--part"),
        ("rank mini --criterion cosine --every 2", "--every"),
        ("rank mini --criterion wer --greedy", "--greedy"),
        ("rank mini --criterion kl --data a.npz --voice nora", "--voice"),
        ("reproduce table2 --dry-run", "--dry-run"),
        ("reproduce table2 --set a=1", "--set"),
        ("reproduce table2 --device cpu", "--device"),
        ("distill a.yaml --voice nora", "--voice"),
        ("distill a.yaml --dry-run --resume", "--resume"),
        ("listen make a.jsonl --reference b.jsonl", "--reference"),
        ("prepare a.npz out --per-shard 5", "--per-shard"),
    ],
)
def test_an_option_without_effect_is_refused(words, option, capsys, monkeypatch):
    monkeypatch.setenv("MAMTRA_WHISPER", "base")  # of the environment, which is for all commands, nothing is said
    assert main(words.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"mamtra: {option} has no effect with") and err.count("\n") == 1
