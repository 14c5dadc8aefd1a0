from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamtra.errors import MamTraError
from mamtra.text.english.lexicon import Lexicon
from mamtra.text.english.lines import ITEM, join_lines
from mamtra.text.english.normalize import normalize

CASES = {
    "The bridge is 1,250 feet long.": "The bridge is one thousand two hundred fifty feet long.",
    "It rained on 07/04/1976.": "It rained on July fourth, nineteen seventy six.",
    "Due 2031-11-09.": "Due November ninth, twenty thirty one.",
    "Since Oct. 12, 1988, nothing moved.": "Since October twelfth, nineteen eighty eight, nothing moved.",
    "The 1920s and the '60s": "The nineteen twenties and the sixties",
    "From 1939-1945 and pages 4-9": "From nineteen thirty nine to nineteen forty five and pages four to nine",
    "Come at 6:07 p.m. or 9 am": "Come at six oh seven P-M or nine A-M",
    "The train leaves at 14:20.": "The train leaves at fourteen twenty.",
    "It closes at 5 p.m.": "It closes at five P-M.",
    "Soup is $4.25, tea £1, cake €2.": "Soup is four dollars and twenty five cents, tea one pound, cake two euros.",
    "A $2.5 million grant": "A two point five million dollar grant",
    "Only $0.01 left and 75¢ owed": "Only one cent left and seventy five cents owed",
    "Up 12.5% to -8°C": "Up twelve point five percent to negative eight degrees Celsius",
    "Run 10 km, lift 1 kg": "Run ten kilometers, lift one kilogram",
    "Use 2 1/2 cups or 3/8 inch": "Use two and a half cups or three eighths inch",
    "The 22nd and 101st": "The twenty second and one hundred first",
    "Call (415) 555-0142 now": "Call four one five, five five five, oh one four two now",
    "Dial 1-888-555-0100": "Dial one, eight eight eight, five five five, oh one oh oh",
    "Mr. Ito met Gen. Park on Oak St. today": "Mister Ito met General Park on Oak Street today",
    "St. Paul, Minn., is cold": "Saint Paul, Minnesota, is cold",
    "42 Elm St. Boston, MA 02118": "forty two Elm Street Boston, Massachusetts oh two one one eight",
    "Dr. Lee lives on Lake Dr. in Reno": "Doctor Lee lives on Lake Drive in Reno",
    "See fig. 3, e.g. the top": "See figure three, for example the top",
    "Bring pens, paper, etc.": "Bring pens, paper, et cetera.",
    "The U.S.A. and the IRS": "The U-S-A and the I-R-S",
    "Room No. 5. No. I mean six": "Room number five. No. I mean six",
    "George VI and Chapter XIV": "George the sixth and Chapter fourteen",
    "ann.lee_2@mail.test.org": "ann dot lee underscore two at mail dot test dot org",
    "See https://docs.python.org/3/ ok": "See docs dot python dot org slash three ok",
    "#GoodMorning from @sky_watch": "hashtag good morning from at sky underscore watch",
    "Track #4 & side B": "Track number four and side B",
    "2 + 3 = 5": "two plus three equals five",
    "Wait… what?!": "Wait... what?",
    "He said—no": "He said—no",
    "She left -- quickly": "She left—quickly",
    "“It’s fine,” he said": '"It\'s fine," he said',
    "'Stay,' she said": '"Stay," she said',
    "the dogs' bowls": "the dogs' bowls",
    "crème brûlée 🍮": "creme brulee",
    "a\u0000b\u200bc": "abc",
    "It is 5'11\" high": "It is five foot eleven high",
    "order 007": "order oh oh seven",
    "Odds of 4:1, MP3s and 2/3rds": "Odds of four to one, M-P threes and two thirds",
    "He weighs 190 lbs. It shows.": "He weighs one hundred ninety pounds. It shows.",
    "Back at 2 a.m. We slept.": "Back at two A-M. We slept.",
    "Open Mon-Fri, 8-10 a.m.": "Open Monday to Friday, eight to ten A-M.",
    "12 km/h or $9/day": "twelve kilometers per hour or nine dollars per day",
    "3⅛ inches": "three and an eighth inches",
    "5 N·m, 1 kW⋅h and 60 lb-ft": "five newton meters, one kilowatt hour and sixty pound feet",
    "10×15 cm or 2 × 3 × 4 m": "ten by fifteen centimeters or two by three by four meters",
    "2 × 3 m = 6 m": "two times three meters equals six meters",
    "Hear it feat. Drake, or ft. Adele, prod. by Dre.": "Hear it featuring Drake, or featuring Adele, produced by Dre.",
    "It is 10 ft. Then it ends.": "It is ten feet. Then it ends.",
    "24/7 and and/or": "twenty four seven and and or",
}


@pytest.mark.parametrize("written", CASES)
def test_normalize(written: str, lexicon: Lexicon) -> None:
    assert normalize(written, lexicon.__contains__) == CASES[written]


@pytest.mark.parametrize("written", sorted(CASES.values()))
def test_spoken_text_stays(written: str, lexicon: Lexicon) -> None:
    """Segments are normalised once for splitting and may be normalised again for encoding."""
    assert normalize(written, lexicon.__contains__) == written


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("The FBI and the BBC", "The F-B-I and the B-B-C"),
        ("NASA and NATO", "NASA and NATO"),
        ("STOP RIGHT THERE NOW", "stop right there now"),
        ("I SAID THIS IS A TEST", "I said this is a test"),
        ("Two DVDs", "Two D-V-Ds"),
    ],
)
def test_capitals(written: str, said: str, lexicon: Lexicon) -> None:
    assert normalize(written, lexicon.__contains__) == said


def test_without_a_lexicon_capitals_are_spelt() -> None:
    assert normalize("the WXYZ sign") == "the W-X-Y-Z sign"


@pytest.mark.parametrize("text", ["", "   ", "🙂🙂", "***", "...", "— —", "\u200b", "!?", "日本語"])
def test_nothing_to_say(text: str) -> None:
    with pytest.raises(MamTraError, match="nothing to say"):
        normalize(text)


@pytest.mark.parametrize("blank", ["\x1c", "\x1d", "\x1f", "\x85", "\xa0", "\u2003", "\u3000", "\x1f \t"])
def test_a_line_of_spaces_of_any_kind_is_blank(blank: str) -> None:
    assert normalize(f"one\n{blank}") == "one"
    assert normalize(f"It is\n{blank}\nfine.") == "It is fine."


def test_items_that_stand_apart_by_blank_lines_are_one_list() -> None:
    apart = f"Bring:\n\n{ITEM}apples\n\n {ITEM}pears\n\nThat is all."
    assert join_lines(apart) == "Bring: apples. pears.\n\nThat is all."


@settings(max_examples=150)
@given(st.text(max_size=60))
def test_any_text_comes_out_plain(text: str) -> None:
    try:
        said = normalize(text)
    except MamTraError:
        return
    assert set(said) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ '-;:,.!?—\"()")
    assert any(c.isalpha() for c in said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\x1b[31mRed\x1b[0m text", "Red text"),
        ("\x9b1mbold", "bold"),
        ("\x1b]0;title\x07A name", "A name"),
        ("\x1b]8;;http://a.b\x1b\\A link\x1b]8;;\x1b\\ here", "A link here"),
        ("zero\x1b[2K\r\none", "zero one"),
        ("\x1b[?25lYes.\x1b(B", "Yes."),
        ("alone \x1b", "alone"),
    ],
)
def test_escape_sequences_of_terminals_are_silent(text, said):
    assert normalize(text) == said
