"""Letters and labels: nothing overlaps, nothing leaves its frame, nothing is lost in wrapping."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfstep.report.lettering import shortened, text_width, wrapped
from halfstep.report.placing import placed
from halfstep.report.theme import ramp, ticks
from halfstep.wording import counted, error_text, percent, printable

SIZE = 11.0


def box(label):
    wide = text_width(label.text, SIZE)
    return label.x, label.y - 0.6 * SIZE, label.x + wide, label.y + 0.6 * SIZE


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.floats(150, 900))
def test_labels_never_touch(seed, count, width):
    rng = np.random.default_rng(seed)
    points = (rng.random((count, 2)) * [width, 400]).tolist()
    texts = ["m" * int(k) for k in rng.integers(0, 30, count)]
    labels = placed(points, texts, width=width, height=400, size=SIZE)
    boxes = [box(label) for label in labels]
    for k, a in enumerate(boxes):
        assert a[0] >= 0
        assert a[2] <= width
        assert a[1] >= 0
        assert a[3] <= 400
        for b in boxes[:k]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        for label in labels:  # no label covers the point of another
            x, y = points[label.of]
            assert not (a[0] < x < a[2] and a[1] < y < a[3])
    assert len({label.of for label in labels}) == len(labels)


def test_the_first_label_finds_room():
    labels = placed(
        [(50.0, 50.0), (50.0, 50.0)], ["first", "second"], width=400, height=100, size=SIZE
    )
    assert labels[0].of == 0
    assert labels[0].x > 50
    assert placed([(5.0, 5.0)], ["far too wide for it"], width=40, height=100, size=SIZE) == []


@given(st.text(max_size=60), st.floats(20, 400))
def test_what_is_shortened_fits(text, width):
    short = shortened(text, width, SIZE)
    assert text_width(short, SIZE) <= width or short == "…"
    assert short == text or (short.endswith("…") and text.startswith(short[:-1]))


@given(st.lists(st.text("abc mW—é", min_size=1, max_size=12), max_size=30), st.floats(60, 400))
def test_wrapping_loses_no_word(words, width):
    text = " ".join(words)
    lines = wrapped(text, width, SIZE)
    assert " ".join(lines).split() == text.split()
    assert all(text_width(line, SIZE) <= width or " " not in line for line in lines)


def test_strengths_go_up():
    assert ramp(1) == ramp(8)[-1:]
    for count in range(2, 9):
        chosen = ramp(count)
        assert len(set(chosen)) == count
        assert (chosen[0], chosen[-1]) == (ramp(8)[0], ramp(8)[-1])
        places = [ramp(8).index(colour) for colour in chosen]
        assert places == sorted(places)


def test_ticks():
    assert ticks(0.03, 4.0, (1, 5)) == [0.05, 0.1, 0.5, 1.0]
    assert ticks(1.0, 1.0, (1,)) == [1.0]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (1, "100%"), (0.99999, "99.99%"), (1e-9, "<0.01%"), (0.0994, "9.9%"), (0.1, "10%")],
)
def test_shares(share, text):
    assert percent(share) == text


def test_numbers():
    assert (counted(1, "item"), counted(0, "item"), counted(1200, "item")) == (
        "1 item",
        "0 items",
        "1,200 items",
    )
    assert error_text(9.99996) == "10.0000"
    assert error_text(1234.5) == "1234"
    assert (error_text(0.0), error_text(0.00094)) == ("0.0000", "0.00094")


def test_what_is_printable():
    """Spaces of all widths are spaces; joiners, which words and emojis need, stay; controls do not."""
    assert printable("映画\u3000七人\xa0の侍") == "映画 七人 の侍"
    for whole in ("می\u200cخواهم", "\N{MAN}\u200d\N{GIRL}"):
        assert printable(whole) == whole
    assert printable("\x1b[31m \u202e a\nb") == "�[31m � a�b"
    assert printable("a\nb", lines=True) == "a\nb"
