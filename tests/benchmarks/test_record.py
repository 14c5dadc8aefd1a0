from record import commit, shown_command, table


def test_commands_show_no_paths_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [
        "run.py",
        "--model",
        f"mini={tmp_path / 'models' / 'mini'}",
        "--whisper",
        "/opt/judge/whisper-base",
        "--limit",
        "2",
    ]
    assert shown_command(words) == "python run.py --model mini=models/mini --whisper whisper-base --limit 2"


def test_tables():
    assert table(("a", "b"), [("x|y", 1)]) == "| a | b |\n| --- | ---: |\n| x/y | 1 |"


def test_the_commit_is_a_hash_or_nothing():
    found = commit().removesuffix(" + changes")
    assert found == "" or (len(found) == 40 and set(found) <= set("0123456789abcdef"))
