"""Readings by kind: neighbours of the inputs that were found to be misread, so that rules read kinds and not examples."""

from __future__ import annotations

from pathlib import Path

import pytest

import mamtra
from mamtra.text.frontend import TextFrontend

WORDS = {
    # roman numerals
    "In part I agree.": "In part I agree.",
    "On my part I was wrong.": "On my part I was wrong.",
    "As seen in part I, it works.": "As seen in part one, it works.",
    "Act I, scene ii": "Act one, scene two",
    "Act I, scene i": "Act one, scene one",
    "pages ii-iv": "pages two to four",
    "p. xii": "page twelve",
    "the scene i saw": "the scene i saw",
    "type i diabetes": "type i diabetes",
    "a question mark x": "a question mark x",
    "V. Conclusion": "Five. Conclusion",
    "MCMXCIX": "nineteen ninety nine",
    "MIX it": "MIX it",
    "the XVIth century": "the sixteenth century",
    # neighbours: comparisons, equations, escapes, ranges and marks of lists
    "5<6>4": "five less than six greater than four",
    "1.200.000,5 points": "one million two hundred thousand point five points",
    "3x + 2y = 7": "three x plus two y equals seven",
    "3 x 4 = 12": "three times four equals twelve",
    "Tom &amp;amp; Ann": "Tom and Ann",
    "\\*not bold\\* and \\_this\\_": "not bold and this",
    "5'10": "five foot ten",
    'She has 12" of snow.': "She has twelve inches of snow.",
    'a box of 12" records': "a box of twelve inch records",
    "B&Bs": "B and B's",
    "90 min film": "ninety minute film",
    "He paid in $20s.": "He paid in twenties.",
    "Rs. 500": "five hundred rupees",
    "1 Jan.-3 Feb.": "the first of January to the third of February",
    "5:30pm-6:15pm": "five thirty P-M to six fifteen P-M",
    "3rd-4th grade": "third to fourth grade",
    "T-10 minutes": "T minus ten minutes",
    "a.b.c": "A-B-C",
    "The U.S.A is big.": "The U-S-A is big.",
    "0800 123 456": "oh eight oh oh, one two three, four five six",
    "a 50-50 chance": "a fifty fifty chance",
    "Ⅳ and ⅷ": "four and eight",
    "Henry Ⅷ": "Henry the eighth",
    "Pt. 3": "Part three",
    "Chapter I thought was short": "Chapter I thought was short",
    "AD 79": "A-D seventy nine",
    "SW1A 1AA": "S W one A, one A A",
    "NaCl, CO, CO2": "N-A-C-L, C-O, C-O two",
    "(i) tea (ii) milk": "one, tea (two) milk",
    "i) first.\nii) second.": "one, first. ‖ two, second.",
    # chapters and verses
    "Matthew 5:3-12": "Matthew five three to twelve",
    "Sam 10:15": "Sam ten fifteen",
    "2 Sam 7:12": "Second Samuel seven twelve",
    "1 Cor. 13:4-7": "First Corinthians thirteen four to seven",
    "Gen. 1:1 and Ps. 23:4": "Genesis one one and Psalm twenty three four",
    "Genesis 1:1-2:3": "Genesis one one to two three",
    "Rev. Jones came at 3:30.": "Reverend Jones came at three thirty.",
    "They won 3:1.": "They won three to one.",
    "Mark 10:30 pm": "Mark ten thirty P-M",
    # days of the week before a day, a month or a time
    "Thu, 3 Oct 2024": "Thursday, the third of October, twenty twenty four",
    "Mon 9am, Sun 14:30": "Monday nine A-M, Sunday fourteen thirty",
    "He Sat 5 hours": "He Sat five hours",
    # points for thousands
    "1.000,50": "one thousand point five zero",
    "12.345": "twelve point three four five",
    # marks of chats
    "I like ==this== a lot": "I like this a lot",
    "if x==y and z==w": "if x equals y and z equals w",
    "\u00af\\_(\u30c4)_/\u00af who knows": "who knows",
    "AA batteries and two AAA cells": "double A batteries and two triple A cells",
    # bare dates, codes and durations
    "7/4": "July fourth",
    "6/8": "six eighths",
    "3/4": "three quarters",
    "13/14": "thirteen fourteenths",
    "2/14 at 7pm": "February fourteenth at seven P-M",
    "(2/5)": "(two of five)",
    "483920": "four eight three nine two oh",
    "12500": "twelve thousand five hundred",
    "90210-1234": "nine oh two one oh dash one two three four",
    "Beverly Hills 90210": "Beverly Hills nine oh two one oh",
    "We sold 12345 units.": "We sold twelve thousand three hundred forty five units.",
    "2w": "two weeks",
    "20w charger": "twenty watt charger",
    "3d printer": "three d printer",
    "3d ago": "three days ago",
    "14d": "fourteen days",
    "My 3w old puppy": "My three week old puppy",
    "She is 32 y/o.": "She is thirty two years old.",
    "every 6mo": "every six months",
    # strokes, machines, capitals and measures before nouns
    "WWII ended.": "World War two ended.",
    "the a/c and he/she": "the A-C and he or she",
    "I left b/c it rained.": "I left because it rained.",
    "TCP/IP and I/O": "T-C-P I-P and I-O",
    "5 min. walk": "five minute walk",
    "90° turn": "ninety degree turn",
    "∑ of x": "the sum of x",
    "FY2022": "F-Y twenty twenty two",
    "RTX 4090 and Ryzen 7 5800X": "R-T-X forty ninety and Ryzen seven fifty eight hundred X",
    "90 mg/dL": "ninety milligrams per deciliter",
    "\\alpha + \\beta": "alpha plus beta",
    "MR. BROWN CAME HOME.": "Mister brown came home.",
    "TURN IT ON.": "turn it on.",
    "SEE NO. 5.": "SEE number five.",
    "3,5": "three, five",
    "Dr. & Mrs. Hill": "Doctor and Missus Hill",
    "Rt. 66": "Route sixty six",
    "Fri 13th": "Friday thirteenth",
    "Sun. 5 May": "Sunday the fifth of May",
    "6 ft 2 in tall": "six feet two inches tall",
    '12"': "twelve inches",
    "It's 70F outside.": "It's seventy degrees Fahrenheit outside.",
    "Seat 12F": "Seat twelve F",
    "$HOME": "dollar HOME",
    "MyClass.method": "MyClass dot method",
    "Use <b> for bold.": "Use b for bold.",
    "Hello <br> you": "Hello you",
    # hearts and faces
    "<3": "heart",
    "</3": "broken heart",
    "She ❤ cats": "She loves cats",
    "Thanks <3": "Thanks",
    "Nice :D": "Nice",
    "if x <3 then": "if x less than three then",
    "Keep it <3 minutes.": "Keep it less than three minutes.",
    # abbreviations
    "Mon. and Tues.": "Monday and Tuesday.",
    "I saw the Sun.": "I saw the Sun.",
    "the dr. said so": "the dr. said so",
    "10 sq. ft. of it": "ten square feet of it",
    "p. 12": "page twelve",
    "est. 1990": "established nineteen ninety",
    "est. 20 people": "estimated twenty people",
    "Sts. Peter and Paul": "Saints Peter and Paul",
    "TX 78701": "Texas seven eight seven oh one",
    # angle brackets
    "Hello <NAME>, your code is <CODE>.": "Hello NAME, your code is CODE.",
    "Send it to <address>.": "Send it to address.",
    "<code>x</code> is code": "x is code",
    # signs and powers
    "x²": "x squared",
    "cm²": "square centimeters",
    "word¹": "word",
    "5·3": "five times three",
    "-20$": "negative twenty dollars",
    "© 2024": "copyright twenty twenty four",
    # units without a number
    "the distance in km": "the distance in kilometers",
    "Ah, mm, the psi function": "Ah, mm, the psi function",
    "the pressure in psi": "the pressure in P-S-I",
    "$5 per kg": "five dollars per kilogram",
    "tire pressure in psi": "tire pressure in P-S-I",
    "the capacity in mAh": "the capacity in milliamp hours",
    "energy in eV": "energy in electron volts",
    "mm, tasty": "mm, tasty",
    # money
    "5 kg weights": "five kilogram weights",
    "5 lb. bag": "five pound bag",
    "$100K salary": "one hundred thousand dollar salary",
    "5-10€": "five to ten euros",
    "10€-20€": "ten to twenty euros",
    "¢5": "five cents",
    "1.234,56 €": "one thousand two hundred thirty four euros and fifty six cents",
    # dates and times
    "12/2020": "December twenty twenty",
    "the 2019/20 season": "the twenty nineteen twenty season",
    "Mon 5/6": "Monday May sixth",
    "20/20 vision": "twenty twenty vision",
    "2h5m10s": "two hours five minutes ten seconds",
    # addresses and labels
    "index.php?id=5": "index dot P-H-P question mark id equals five",
    "from A-Z": "from A to Z",
    "911": "nine one one",
    "911 people": "nine hundred eleven people",
    "Porsche 911": "Porsche nine eleven",
    "737 MAX": "seven thirty seven MAX",
    "order 123456": "order one two three four five six",
    "version 3.11": "version three point eleven",
    "0x1F": "zero X one F",
    "scale 1:50": "scale one to fifty",
    # letters
    "Ca2+": "C-A two plus",
    "PbO": "P-B-O",
    "LED lights": "L-E-D lights",
    "HE LED THEM HOME": "he led them home",
}
SOUNDS = {
    "He bowed.": "bˈWd",
    "He wound the clock.": "wˈWnd",
    "a deep wound": "wˈund",
    "a tear in the fabric": "tˈɛɹ",
    "a tear in her eye": "tˈɪɹ",
    "Refuse to pay.": "ɹəfjˈuz",
    "fresh produce": "pɹˈOdˌus",
    "they produce the oil": "pɹədˈus",
    "live music": "lˈIv",
    "We live in a house.": "lˈɪv",
    "Reading, England": "ɹˈɛdɪŋ",
    "Nice, France": "nˈis",
    "a nice day": "nˈIs",
    "deliberate act": "dəlˈɪbəɹət",
    "The members deliberate for hours.": "dəlˈɪbəɹˌAt",
    "She will elaborate further.": "əlˈæbəɹˌAt",
    "He made elaborate plans.": "əlˈæbəɹət",
    "Graduate school is hard.": "ɡɹˈæʤəwət",
    "Most students graduate in June.": "ɡɹˈæʤʊˌAt",
    "I want to separate eggs.": "sˈɛpəɹˌAt",
    "He sharpened the axes.": "ˈæksᵻz",
    "The bases are loaded.": "bˈAsᵻz",
    "the legal bases of the claim": "bˈAsˌiz",
    "He dives in.": "dˈIvz",
    # the letter a, which is no article before a pause or an equals sign
    "a, b and c": "ˈA",
    "B, A and D": "ˈA",
    "a = 5": "ˈA",
    "a² + b² = c²": "ˈA",
    "a plan": "ɐ",
    "Moby Dick: A Novel": "ɐ",
    "Dr. Dre": "dɹˈA",
    "the AA meeting": "ˌAˈA",
}


@pytest.fixture(scope="module")
def front() -> TextFrontend:
    return TextFrontend.load(Path(mamtra.__path__[0]) / "assets" / "mini")


@pytest.mark.parametrize("written", WORDS)
def test_words(front: TextFrontend, written: str) -> None:
    assert " ‖ ".join(part.text for part in front.explain(written)) == WORDS[written]


@pytest.mark.parametrize("written", SOUNDS)
def test_sounds(front: TextFrontend, written: str) -> None:
    phonemes = " ".join(part.phonemes for part in front.explain(written))
    assert SOUNDS[written] in phonemes.replace(".", "").replace(",", "").split()
