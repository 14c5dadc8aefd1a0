"""What stands on both sides of the letter-to-sound network: letters of an unknown word, and the sounds that it finds for them."""

from __future__ import annotations

from collections.abc import Callable

from mamtra.text.english.phonemes import PRIMARY, SECONDARY, emphasised

LETTERS = "abcdefghijklmnopqrstuvwxyz"
BLANK = 0
_LONGEST = 48


def split_sounds(phonemes: str) -> list[str]:
    """``"həlˈO"`` -> ``["h", "ə", "l", "ˈO"]``."""
    sounds: list[str] = []
    mark = ""
    for symbol in phonemes:
        if symbol in (PRIMARY, SECONDARY):
            mark = symbol
        else:
            sounds.append(mark + symbol)
            mark = ""
    return sounds


def letter_ids(word: str) -> list[int]:
    """Ids of the letters of a word, 1 for a; other characters are left out."""
    return [LETTERS.index(c) + 1 for c in word.lower() if c in LETTERS]


def best_path(classes: list[int], sounds: list[str]) -> str:
    """Collapse a CTC path: repeats fold, blanks go; a word gets exactly one primary stress.

    Args:
        classes: best class of each position.
        sounds: the sound of class 1, 2, ...
    """
    said = [sounds[c - 1] for place, c in enumerate(classes) if c != BLANK and (not place or classes[place - 1] != c)]
    stressed = False
    for place, sound in enumerate(said):
        if sound.startswith(PRIMARY):
            if stressed:
                said[place] = SECONDARY + sound[1:]
            stressed = True
    return emphasised("".join(said))


def read_letters(word: str, find: Callable[[list[int]], list[int]], sounds: list[str]) -> str:
    """Phonemes of a word, with one primary stress; "" if it has no letter from a to z.

    Args:
        word: the word.
        find: letter ids (L,) -> best class (2 L,) of each position.
        sounds: the sound of class 1, 2, ...
    """
    ids = letter_ids(word)
    # Longer runs of letters are not words; in pieces they stay within what the network has seen.
    pieces = [ids[start : start + _LONGEST] for start in range(0, len(ids), _LONGEST)]
    return "".join(best_path(find(piece), sounds) for piece in pieces)
