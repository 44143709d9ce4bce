"""What becomes of each kind of data when gold and silver are put together."""

import msgspec
import pytest

from xner_label.entities import ProjectedEntity, Provenance, Tokens
from xner_label.errors import ConfigurationError
from xner_label.settings.loading import load_settings
from xner_label.training.data import DataOptions
from xner_label.training.rules import MergeRules, silver_tags, silver_weights, table
from xner_label.training.sentences import Sentence

TEXT = "Amina anaishi Lindi leo"
ANSWERED = Provenance(answer="mwana on 2026-11-02")


def entity(start, end, label, confidence, provenance=msgspec.UNSET):
    return ProjectedEntity(start, end, label, TEXT[start:end], 1.0, confidence, provenance=provenance)


def sentence(*silver):
    return Sentence(1, "1", Tokens.tokenize(TEXT), silver)


PROJECTED = sentence(entity(0, 5, "PER", 0.9), entity(14, 19, "LOC", 0.2))
SETTLED = sentence(entity(0, 5, "PER", 0.1, ANSWERED), entity(14, 19, "LOC", 0.8))


@pytest.mark.parametrize(
    ("rules", "item", "tags", "weights"),
    [
        ({}, PROJECTED, ["B-PER", "O", None, "O"], [0.9, 0.5, None, 0.5]),
        ({"doubtful": "outside"}, PROJECTED, ["B-PER", "O", "O", "O"], [0.9, 0.5, 0.5, 0.5]),
        ({"silver": "equal", "outside_weight": 1.0}, PROJECTED, ["B-PER", "O", None, "O"], [1, 1, None, 1]),
        ({"min_silver_confidence": 0.1}, PROJECTED, ["B-PER", "O", "B-LOC", "O"], [0.9, 0.5, 0.2, 0.5]),
        ({}, SETTLED, [None, "O", "B-LOC", "O"], [None, 0.5, 0.8, 0.5]),
        ({"settled": "certain"}, SETTLED, ["B-PER", "O", "B-LOC", "O"], [1.0, 0.5, 0.8, 0.5]),
        ({"settled": "unknown"}, SETTLED, [None, "O", "B-LOC", "O"], [None, 0.5, 0.8, 0.5]),
        (
            {"settled": "certain", "partly_reviewed": "unknown"},
            SETTLED,
            ["B-PER", None, "B-LOC", None],
            [1.0, None, 0.8, None],
        ),
        ({"partly_reviewed": "unknown"}, PROJECTED, ["B-PER", "O", None, "O"], [0.9, 0.5, None, 0.5]),
    ],
)
def test_each_rule_decides_what_tokens_are_and_weigh(rules, item, tags, weights):
    rules = MergeRules(**rules)
    assert silver_tags(item, ("PER", "LOC"), rules) == tags
    known = [weight if tag else None for weight, tag in zip(silver_weights(item, rules), tags, strict=True)]
    assert known == weights


def test_a_label_of_another_set_is_unknown_whatever_the_rules():
    rules = MergeRules(doubtful="outside")
    assert silver_tags(sentence(entity(0, 5, "DATE", 0.9)), ("PER",), rules) == [None, "O", "O", "O"]


def test_the_rules_are_a_table_of_the_settings_file(tmp_path):
    file = tmp_path / "xner-label.toml"
    file.write_text('[training.rules]\nsettled = "certain"\ngold_weight = 5\npartly_reviewed = "unknown"\n')
    rules = DataOptions.of(load_settings(file, {})).rules
    assert rules == MergeRules(settled="certain", gold_weight=5, partly_reviewed="unknown")
    assert DataOptions.of(load_settings(None, {})).rules == MergeRules()
    in_words = {rule.setting: rule.becomes for rule in table(rules)}
    assert in_words["training.rules.settled"] == "silver, weighing 1"
    assert in_words["training.rules.gold_weight"] == "counts 5 times"


@pytest.mark.parametrize(
    "line", ['settled = "gold"', 'silver = "maybe"', "gold_weight = 0", "outside_weight = 1.5", "conflicts = 1"]
)
def test_a_rule_that_there_is_not_is_refused(tmp_path, line):
    file = tmp_path / "xner-label.toml"
    file.write_text(f"[training.rules]\n{line}\n")
    with pytest.raises(ConfigurationError, match=line.split(" ")[0]):
        load_settings(file, {})
