"""Texts of the recipe."""

import random

import texts


def test_letters_numbers_and_words_are_said_alone_too():
    words = [f"word{n}" for n in range(1500)]
    made = list(texts.alone(random.Random(0), words))
    assert {"H", "H?", "8.", "Oh!"} <= set(made)
    assert all(len(text.split()) == 1 for text in made)
    assert made == list(texts.alone(random.Random(0), words))
