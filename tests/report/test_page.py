"""The page: whole, harmless, the same bytes again, and as it should be on any screen and on paper."""

import re
from xml.etree import ElementTree

import pytest
from samples import NASTY

import halfstep as hs
from halfstep.errors import InputError
from halfstep.report import picture, write_report
from halfstep.report.theme import ROLES

SECTIONS = [
    "ratings",
    "training",
    "choice",
    "error",
    "predictions",
    "certainty",
    "axes",
    "examples",
]
MOST = 3_000_000  # bytes


def names_of(tree):
    return {element.tag.rpartition("}")[2] for element in tree.iter()}


def test_it_needs_nothing_but_itself(made):
    tree = made.tree()
    assert names_of(tree).isdisjoint(
        {"script", "link", "img", "iframe", "object", "embed", "image"}
    )
    for element in tree.iter():
        for name, value in element.attrib.items():
            plain = name.rpartition("}")[2]
            assert not plain.startswith("on"), (element.tag, name)
            if plain in ("href", "src", "data", "action", "poster", "srcset", "style"):
                assert value.startswith("#"), (element.tag, name, value)
            for target in re.findall(r"url\(([^)]*)\)", value if plain != "aria-label" else ""):
                assert target.startswith("#"), value
    styles = [element.text for element in tree.iter() if element.tag == "style"]
    assert len(styles) == 1
    assert "@import" not in styles[0]
    assert "url(" not in styles[0]


def test_every_section_is_there(made):
    tree = made.tree()
    assert [section.get("id") for section in tree.iter("section")] == SECTIONS
    contents = [link.get("href") for link in tree.find(".//nav").iter("a")]
    assert contents == [f"#{name}" for name in SECTIONS]
    text = " ".join("".join(tree.itertext()).split())
    for section in made.report.sections:
        assert section.parts
        for part in section.parts:
            assert not hasattr(part, "why"), part
            told = part.sentence
            assert told.endswith(".")
            assert " ".join(told.split()) in text


def test_every_figure_says_what_it_shows(made):
    drawn = [e for e in made.tree().iter() if e.tag.endswith("}svg")]
    assert len(drawn) >= 15
    for svg in drawn:
        assert svg.get("role") == "img"
        assert len(svg.get("aria-label")) > 40
        assert [e for e in svg.iter() if e.tag.endswith("}text")], "text must be text"


def test_ids_are_unique_and_what_is_pointed_at_exists(made):
    ids = [e.get("id") for e in made.tree().iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    markup = "".join(re.findall(r"<[^>]*>", made.text))
    targets = set(re.findall(r'(?:href="#|clip-path="url\(#|fill="url\(#)([\w-]+)', markup))
    assert targets
    assert targets <= set(ids)


def test_titles_are_text_whatever_they_hold(made):
    tree = made.tree()
    assert names_of(tree).isdisjoint({"script", "img"})
    cells = {text.strip() for cell in tree.iter("td") for text in cell.itertext()}
    shown = " ".join(cells)
    for title in NASTY:
        printed = "".join(c if c.isprintable() else "�" for c in title)
        assert printed in shown, title
    assert "49 &" not in shown
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\u202e]", made.text)
    drawn = tree.find(".//figure[@id='map']").iter("{http://www.w3.org/2000/svg}text")
    assert any("".join(text.itertext()).startswith("<script>alert") for text in drawn)


def test_dark_screens_have_a_colour_for_every_colour(made):
    style = next(e.text for e in made.tree().iter("style"))
    dark = style.split("@media screen and (prefers-color-scheme: dark)")[1].split("}")[0]
    for role, (light, on_dark) in ROLES.items():
        assert f"--{role}: {light};" in style
        assert f"--{role}: {on_dark};" in dark
        assert f'[fill="{light}"] {{ fill: var(--{role}); }}' in style
        assert f'[stroke="{light}"] {{ stroke: var(--{role}); }}' in style
    known = {light for light, _ in ROLES.values()} | {"none", "transparent"}
    for svg in (e for e in made.tree().iter() if e.tag.endswith("}svg")):
        for element in svg.iter():
            for paint in ("fill", "stroke"):
                colour = element.get(paint)
                assert colour is None or colour in known, (svg.get("aria-label")[:40], colour)


def test_the_roles_do_not_run_into_each_other():
    for side in (0, 1):
        assert len({pair[side].lower() for pair in ROLES.values()}) == len(ROLES)


def test_paper_and_narrow_screens_are_thought_of(made):
    style = next(e.text for e in made.tree().iter("style"))
    assert "break-inside: avoid" in style.split("@media print")[1]
    assert "@media (max-width:" in style
    assert 'name="viewport"' in made.text
    tree = made.tree()
    both = [e.get("class") for e in tree.find(".//figure[@id='map']").iter("div")]
    assert both == ["drawn on-wide", "drawn on-narrow"]


def test_the_same_bytes_again(made, tmp_path):
    again = tmp_path / "again.html"
    write_report(made.model, made.ratings, again, titles=made.titles)
    assert again.read_bytes() == made.path.read_bytes()
    other = tmp_path / "other.html"
    write_report(made.model, made.ratings, other, titles=made.titles, seed=1)
    assert other.read_bytes() != made.path.read_bytes()


def test_many_items_and_users_do_not_make_it_large(tmp_path, made):
    ratings = hs.simulate(900, 2500, rank=3, ratings_per_user=60, seed=0).ratings
    model = hs.ExplicitMF(rank=8, reg=0.06, max_iter=3).fit(ratings)
    path = tmp_path / "large.html"
    write_report(model, ratings, path)
    assert path.stat().st_size < MOST
    assert path.stat().st_size < 3 * made.path.stat().st_size


@pytest.mark.parametrize(
    ("ending", "magic"), [("png", b"\x89PNG\r\n\x1a\n"), ("pdf", b"%PDF-"), ("HTML", b"<!DOCTYPE")]
)
def test_the_ending_decides(made, tmp_path, ending, magic):
    path = tmp_path / f"report.{ending}"
    write_report(made.model, made.ratings, str(path), titles=made.titles)
    assert path.read_bytes().startswith(magic)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_sheet_holds_every_figure_inside_its_frame(made):
    from halfstep.report.sheet import sheet_of
    from halfstep.report.write import drawings

    svg = sheet_of(made.report, drawings(made.report))
    sheet = ElementTree.fromstring(svg)
    width, height = float(sheet.get("width")), float(sheet.get("height"))
    inner = [e for e in sheet if e.tag.endswith("}svg")]
    figures = [p for s in made.report.sections for p in s.parts if hasattr(p, "chart")]
    assert len(inner) == len(figures)
    boxes = []
    for e in inner:
        x, y, w, h = (float(e.get(name)) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert x + w <= width
        assert y + h <= height
        for other in boxes:
            assert x >= other[2] or x + w <= other[0] or y >= other[3] or y + h <= other[1]
        boxes.append((x, y, x + w, y + h))


# ------------------------------------------------------------------------------ what may go wrong


@pytest.mark.parametrize("name", ["report.svg", "report", "report.htm"])
def test_other_endings(made, tmp_path, name):
    with pytest.raises(InputError, match="neither HTML, PNG nor PDF; end the name in"):
        write_report(made.model, made.ratings, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("absent", "packages"),
    [
        ("jinja2", "needs jinja2;"),
        ("vl_convert", "needs vl-convert-python;"),
        (None, "needs altair and vl-convert-python and jinja2;"),
    ],
)
def test_without_the_extra(made, tmp_path, monkeypatch, absent, packages):
    found = picture.find_spec
    monkeypatch.setattr(
        picture, "find_spec", lambda name: None if absent in (None, name) else found(name)
    )
    with pytest.raises(InputError) as caught:
        write_report(made.model, made.ratings, tmp_path / "report.html")
    assert packages in str(caught.value)
    assert "pip install 'halfstep[report]'" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_what_was_there(made, tmp_path, monkeypatch):
    import vl_convert

    path = tmp_path / "report.html"
    path.write_text("the old one")
    drawn = vl_convert.vegalite_to_svg
    calls = iter(range(100))

    def third_is_interrupted(*arguments, **named):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return drawn(*arguments, **named)

    monkeypatch.setattr(vl_convert, "vegalite_to_svg", third_is_interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_report(made.model, made.ratings, path)
    assert path.read_text() == "the old one"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_the_library_stays_light(run_code):
    heavy = "{'altair', 'jinja2', 'vl_convert', 'scipy.sparse'}"
    code = f"import sys, halfstep.report.write; print(sorted({heavy} & set(sys.modules)))"
    answer = run_code(code)
    assert answer.stdout == "[]\n", answer.stderr


def test_on_real_ratings(data_folder, tmp_path):
    folder = data_folder / "ml-100k"
    ratings = hs.read_ratings(folder / "u.data")
    titles = hs.read_titles(folder / "u.item")
    model = hs.ExplicitMF(rank=8, reg=(0.08, 0.08, 0.03), max_iter=5).fit(ratings)
    path = tmp_path / "report.html"
    report = write_report(model, ratings, path, titles=titles)
    assert path.stat().st_size < MOST
    sentences = {part.id: part.sentence for section in report.sections for part in section.parts}
    runs = "Ratings run from 20 September 1997 to 22 April 1998; the busiest week (the week of "
    assert sentences["activity"].startswith(f"{runs}10 November 1997)")
    assert sentences["scale"].startswith("The most frequent rating is 4 (34%)")
    assert "Star Wars (1977)" in sentences["similar"]
    assert report.errors["this model"][0] < report.errors["global mean"][0]
