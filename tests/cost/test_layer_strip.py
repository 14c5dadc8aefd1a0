"""Layer plans as text and as pictures."""

from xml.etree import ElementTree

import pytest

from mamtra.cost.layer_strip import strip_text, strips_svg
from mamtra.cost.units import byte_count, change
from mamtra.models.plan import LayerPlan

SVG = "{http://www.w3.org/2000/svg}"


def test_text():
    text = strip_text(LayerPlan.from_ratio(6, "1:2")).plain
    assert text == " 0 1 2 3 4 5\n A M M A M M\n"


def test_long_strips_go_on_below():
    lines = strip_text(LayerPlan.from_ratio(12, "1:2"), width=20).plain.splitlines()
    assert len(lines) == 4 and all(len(line) <= 20 for line in lines)
    assert " ".join(lines[0::2]).split() == [str(i) for i in range(12)]
    assert " ".join(lines[1::2]).split() == list("AMMAMMAMMAMM")


def test_attention_and_mamba_are_told_apart_by_colour():
    spans = {str(span.style) for span in strip_text(LayerPlan.from_ratio(2, "1:1")).spans}
    assert len(spans) == 3  # numbers, attention, Mamba


def test_picture():
    plan, other = LayerPlan.from_ratio(8, "1:3"), LayerPlan.explicit(5, [2])
    document = strips_svg([('a "first" <one>', plan), ("second", other)], "Plans & more")
    root = ElementTree.fromstring(document)
    strips = root.findall(f"{SVG}g")
    assert ["".join(use.get("href")[1:] for use in strip.iter(f"{SVG}use")) for strip in strips] == [
        plan.letters,
        other.letters,
    ]
    assert [[text.text for text in strip.iter(f"{SVG}text")] for strip in strips] == [list("01234567"), list("01234")]
    assert root.get("aria-label") == "Plans & more"
    assert {'a "first" <one>', "second", "attention", "Mamba"} <= {text.text for text in root.findall(f"{SVG}text")}
    width = float(root.get("width"))
    places = [float(use.get("x")) for use in strips[0].iter(f"{SVG}use")]
    left = float(strips[0].get("transform").split("(")[1].split()[0])
    assert places == sorted(places) and left + places[-1] + 22 < width
    assert document == strips_svg([('a "first" <one>', plan), ("second", other)], "Plans & more")


@pytest.mark.parametrize(
    "number, text",
    [(0, "0 B"), (999, "999 B"), (1000, "0.977 KiB"), (2**20, "1 MiB"), (14.1 * 2**20, "14.1 MiB"),
     (2000 * 2**30, "2,000 GiB")],
)  # fmt: skip
def test_bytes(number, text):
    assert byte_count(number) == text


def test_changes():
    assert [change(1, 2), change(3, 2), change(2, 2), change(2, 0)] == ["-50.0%", "+50.0%", "", ""]
