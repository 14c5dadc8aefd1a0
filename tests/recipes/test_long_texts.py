import random
from collections import Counter
from types import SimpleNamespace

import long_texts
import repeats

LINES = [
    "The cat sat on the mat, and the dog ran to the old gate.",
    "A small boat came over the water in the evening.",
    "Nobody had seen the boat before, but nobody asked where it came from.",
]
FRONT = SimpleNamespace(
    segments=lambda text: [SimpleNamespace(ids=text)], tokenizer=SimpleNamespace(decode=lambda ids: ids)
)


def test_frames_are_filled_with_words_that_come_again():
    words, rng = repeats.Words(LINES * 3), random.Random(1)
    assert {"the", "boat", "came"} <= set(words.common)
    made = repeats.fill("A, R, and N R.", words, rng)
    first, again, _, number, last = (word.strip(",.").lower() for word in made.split())
    assert first == again and number in repeats.NUMBERS and last in (first, number)
    assert repeats.fill('"A S," P A M.', words, rng).startswith('"')


def test_a_sentence_with_something_in_it_again_has_all_of_its_words_and_more_of_some():
    for seed in range(30):
        made, once = (
            Counter(word.strip(",.!?").lower() for word in text.split())
            for text in (repeats.again(LINES[1], random.Random(seed)), LINES[1])
        )
        assert made > once


def test_sentences_that_are_measured_with_are_left_out():
    held = long_texts.HeldOut(["id\tThe cat sat on the mat.", "One by one."])
    assert "One, by one!" in held and "And the cat sat on the rug" in held
    assert "The cat sat on a mat" not in held and "They came one by one" not in held


def test_running_text_is_no_longer_than_the_longest_and_keeps_the_order_of_a_book():
    reader = long_texts.Reader(LINES, ["Row, row, row."], long_texts.HeldOut([LINES[2]]), FRONT)
    made = [reader.text(random.Random(seed)) for seed in range(40)]
    assert all(len(text) <= long_texts.LONGEST for text in made) and max(map(len, made)) > 300
    assert any(f"{LINES[0]} {LINES[1]} {LINES[0]}" in text for text in made)  # the held-out line between is left out
    assert not any(LINES[2] in text for text in made) and any("Row, row, row. Row, row, row." in text for text in made)
