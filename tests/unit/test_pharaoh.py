import pytest

from xner_label.errors import RecordError
from xner_label.pharaoh import format_links, parse_links


def test_round_trip_keeps_the_larger_weight():
    links = parse_links("1-2:0.83 0-0 1-2:0.5 0-1:1", 2, 3)
    assert links == [(0, 0, 1.0), (0, 1, 1.0), (1, 2, 0.83)]
    assert format_links(links) == "0-0 0-1 1-2:0.83"
    assert parse_links("", 0, 0) == []


@pytest.mark.parametrize(
    "text", ["0", "0-", "a-0", "-1-0", "0-0:", "0-0:nan", "0-0:0", "0-0:1.5", "2-0", "0-3", "²-0"]
)
def test_bad_links_are_refused(text):
    with pytest.raises(RecordError, match=r"^alignment: "):
        parse_links(text, 2, 3)
