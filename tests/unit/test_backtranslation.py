"""Renderings of source entities move links, with a translator and without."""

from __future__ import annotations

import pytest

from xner_label.entities import Entity, Task
from xner_label.pipeline.backtranslation import back_translate, refine_links
from xner_label.pipeline.pipeline import Pipeline
from xner_label.projection.problem import build_instance
from xner_label.projection.projectors import make_projector
from xner_label.stages.interfaces import Translation

SOURCE = "The World Bank met in Rome"
TEXT = "Benki ya Dunia ilikutana Roma na Roma"
BANK = Entity(4, 14, "ORG")
ROME = Entity(22, 26, "LOC")


def task(translations, links: str | None = "", entities=(BANK, ROME), text=TEXT):
    return Task(
        id=1,
        text=text,
        source=SOURCE,
        source_entities=entities,
        alignment=links,
        back_translations=translations,
    )


def refined(*arguments, **options):
    return refine_links(build_instance(task(*arguments, **options))[0]).links


def test_missing_links_are_added_and_stray_ones_dropped():
    links = refined((("Benki ya Dunia",), ()), "1-3 3-3 5-4")
    assert links == (
        *((source, target, 1.0) for source in (1, 2) for target in (0, 1, 2)),
        (3, 3, 1.0),
        (5, 4, 1.0),
    )


def test_present_links_tell_equal_places_apart():
    assert refined(((), ("Roma",)), "5-6:0.4") == ((5, 6, 1.0),)
    assert refined(((), ("Roma",)), "0-0") == ((0, 0, 1.0),)


def test_nothing_to_go_by_changes_nothing():
    instance = build_instance(task(((), ()), "5-4"))[0]
    assert refine_links(instance) is instance
    assert refined((("Umoja wa Mataifa",), ("",)), "5-4") == ((5, 4, 1.0),)


def test_a_task_with_back_translations_needs_no_links():
    (prediction,) = Pipeline(make_projector("link-dice")).predict(
        [task((("Benki ya Dunia",), ("Roma",)), None, text="Benki ya Dunia ilikutana Roma")]
    )
    assert [(entity.text, entity.label) for entity in prediction.entities] == [
        ("Benki ya Dunia", "ORG"),
        ("Roma", "LOC"),
    ]


def test_renderings_stay_in_step_with_mentions_that_are_left_out():
    blank = Entity(3, 4, "PER")
    instance, notes = build_instance(task((("x",), ("Benki ya Dunia",), ("Roma",)), entities=(blank, BANK, ROME)))
    assert instance.translations == (("Benki ya Dunia",), ("Roma",))
    assert len(notes) == 1


class Dictionary:
    """Translates what it has been taught."""

    signature = "dictionary"

    def __init__(self, entries):
        self.entries = entries

    def translate(self, texts):
        return [Translation(self.entries.get(text, "")) for text in texts]


def test_a_translator_renders_entities_alone_and_in_context():
    translator = Dictionary(
        {
            "World Bank": "Benki Dunia",
            "The [World Bank] met in Rome": "[ Benki ya Dunia ] ilikutana mjini Rumi",
            "Rome": "Roma",
            "The World Bank met in [Rome]": "Benki ya Dunia ilikutana Roma",
        }
    )
    instance = build_instance(task(None, "5-6"))[0]
    (rendered,) = back_translate(translator, [instance])
    assert rendered.translations == (("Benki Dunia", "Benki ya Dunia"), ("Roma",))
    pipeline = Pipeline(make_projector("align"), back_translator=translator)
    assert "back-translator=dictionary" in pipeline.signature
    (prediction,) = pipeline.predict([task(None, "5-6")])
    assert [entity.text for entity in prediction.entities] == ["Benki ya Dunia", "Roma"]
    assert prediction.entities[1].start == TEXT.rindex("Roma")


@pytest.mark.parametrize(
    ("links", "filters", "passes"),
    [
        ("1-0 2-2 5-4", ("aligned", "counts"), True),
        ("1-0 2-2 5-4", ("contiguous",), False),
        ("1-0 1-1 2-2 5-4", ("contiguous", "aligned", "counts"), True),
        ("1-0 5-4", ("aligned",), False),
        ("1-0", ("counts",), False),
    ],
)
def test_completeness_filters(links, filters, passes):
    from xner_label.errors import IncompleteError

    (result,) = Pipeline(make_projector("align"), filters=filters).predict([task(None, links)])
    assert isinstance(result, IncompleteError) != passes
