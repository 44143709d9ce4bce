"""`xner-label export`: gold and silver as files."""

from __future__ import annotations

from typing import Any

import click

from xner_label.cli.options import FiniteRange, json_option, output_option, with_settings
from xner_label.cli.output import answer, require_file, say
from xner_label.settings.table import Settings
from xner_label.wording import counted


@click.command(name="export")
@click.option("--gold", is_flag=True, help="What people settled")
@click.option("--silver", is_flag=True, help="Predictions never reviewed, by the latest pipeline")
@click.option("--full", is_flag=True, help="With source, source entities, tokens and links, for fit-projector")
@click.option(
    "--format",
    type=click.Choice(
        ["jsonl", "conll", "hf", "doccano", "prodigy", "label-studio", "webanno", "brat", "spacy"],
        case_sensitive=False,
    ),
    default="jsonl",
    show_default=True,
)
@click.option(
    "--max-error",
    type=FiniteRange(0.0, 1.0, min_open=True, max_open=True),
    help="Only silver of which at most this share is wrong, promised from the audit slice",
)
@click.option(
    "--level",
    type=FiniteRange(0.5, 1.0, max_open=True),
    default=0.95,
    show_default=True,
    help="How sure the promise is",
)
@click.option(
    "--per",
    type=click.Choice(["entity", "sentence"]),
    default="entity",
    show_default=True,
    help="Promise the share of wrong entities, or of sentences with a wrong or a missed one",
)
@click.option("--together", is_flag=True, help="One promise for all labels, not one for each")
@click.option("--documents", is_flag=True, help="Put sentences of documents (`import --sentences`) together again")
@output_option
@with_settings("database_url", "project")
@json_option
def command(
    settings: Settings,
    gold: bool,
    silver: bool,
    full: bool,
    documents: bool,
    format: str,
    output_path: str,
    as_json: bool,
    max_error: float | None,
    **promised: Any,
) -> None:
    """Write gold, silver or both, in the order the tasks came.

    Formats: JSON Lines, CoNLL columns (token, tab, IOB2 tag), Hugging Face `tokens` and `ner_tags`, doccano's and
    Prodigy's JSON Lines, Label Studio's JSON, WebAnno TSV (INCEpTION), brat's files (-o names a new folder),
    spaCy's DocBin. A file or folder is whole or absent. Entities that tags can't express (CoNLL, Hugging Face) are
    counted and named. With --max-error, entities that can't be accepted are left out of the silver
    (with --per sentence: the whole task); where nothing can be promised nothing is written (exit 6).
    """
    from xner_label.exchange.exporting import export
    from xner_label.review.desk import acceptance
    from xner_label.store.database import open_store

    require_file(output_path, as_json=as_json)
    with open_store(settings.database_url) as store:
        accepted = None
        if max_error is not None:
            guarantee, accepted = acceptance(store, settings.project, max_error, **promised)
            for line in guarantee.lines():
                say(line)
        report = export(
            store,
            settings.project,
            output_path,
            gold=gold,
            silver=silver,
            format=format,
            full=full,
            accepted=accepted,
            whole=promised["per"] == "sentence",
            documents=documents,
        )
    cut = f", {counted(report.cut_tokens, 'token')} cut where entities begin or end" if report.cut_tokens else ""
    left_out = f", {report.left_out} left out" if report.left_out else ""
    if report.incomplete_documents:
        left_out += f", {counted(report.incomplete_documents, 'incomplete document')} left out"
    what = ("document or task", "documents and tasks") if documents else ("task",)
    exported = f"{counted(report.tasks, *what)} with {counted(report.entities, 'entity')}"
    words = f"{exported} exported{cut}{left_out}"
    if output_path == "-":
        say(words)
    else:
        answer(report, words, as_json=as_json)
    for entity in report.named:
        say(f"left out: {entity}")
    unnamed = report.left_out + report.incomplete_documents - len(report.named)
    if unnamed > 0:
        say(f"... and {unnamed:,} more")
