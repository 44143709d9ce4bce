"""Flags of settings: read as the environment is, whatever command they belong to."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from xner_label.cli.main import cli
from xner_label.settings.loading import load_settings
from xner_label.settings.rules import Choice, Names, Range
from xner_label.settings.table import table

TABLE = {entry.name: entry for entry in table()}
# A value for those whose rule names none.
TEXTS = {"target_language": "sw", "source_language": "de", "device": "cuda:1"}


def commands(group: click.Group = cli, *path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its whole name."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield " ".join([*path, name]), command


def example(name: str) -> str:
    rule = TABLE[name].metadata["rule"]
    if isinstance(rule, Choice):
        return "+".join(rule.joinable[:2]) or rule.names[-1]
    if isinstance(rule, Range):
        return str(max(rule.minimum or 0, 1 if TABLE[name].type == "int" else 0.25))
    if isinstance(rule, Names):
        return "A=B,C=D" if name == "tagger_map" else "PER, ORG"
    return TEXTS.get(name, "http://somewhere:1" if name.endswith("_url") else "some where")


FLAGS = [
    (name, option)
    for name, command in commands()
    for option in command.params
    if isinstance(option, click.Option) and option.name in TABLE
]


@pytest.mark.parametrize(("command", "option"), FLAGS, ids=lambda value: getattr(value, "name", value))
def test_a_flag_says_what_its_variable_says(command: str, option: click.Option) -> None:
    assert option.name is not None
    text = example(option.name)
    given = option.type_cast_value(click.Context(cli), text)
    from_flag = load_settings(None, {}, {option.name: given})
    from_environment = load_settings(None, {TABLE[option.name].metadata["env"][0]: text})
    assert from_flag == from_environment
    assert from_flag != load_settings(None, {}), "an example that changes nothing shows nothing"


def test_choices_and_ranges_of_flags_are_those_of_the_table() -> None:
    for _, option in FLAGS:
        rule = TABLE[option.name or ""].metadata["rule"]
        if isinstance(rule, Choice) and not (rule.joinable or rule.summable):
            assert isinstance(option.type, click.Choice)
            assert list(option.type.choices) == [name for name in rule.names if name]
        if isinstance(rule, Range):
            assert isinstance(option.type, click.IntRange | click.FloatRange)
            assert (option.type.min, option.type.max) == (rule.minimum, rule.maximum)


def test_help_shows_defaults_as_a_person_types_them() -> None:
    helps = {(name, option.name): option.help or "" for name, option in FLAGS}
    assert "[default: PER,ORG,LOC,DATE]" in helps["import", "labels"]
    assert "[default: the preset's]" in helps["predict", "aligner"]
