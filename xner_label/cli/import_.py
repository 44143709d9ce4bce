"""`xner-label import`: tasks, gold or labelled source data into the store."""

from __future__ import annotations

from pathlib import Path

import click

from xner_label.cli.options import READ_FORMATS, comma_separated, json_option, with_settings
from xner_label.cli.output import answer, report_partial, say
from xner_label.cli.progress import console_progress
from xner_label.settings.table import Settings
from xner_label.wording import counted


@click.command(name="import")
@click.argument("input_path", metavar="FILE|-", type=click.Path(path_type=Path))
@click.option(
    "--format",
    type=click.Choice(READ_FORMATS, case_sensitive=False),
    help="Format of the file [default: what its ending and its content say]",
)
@click.option(
    "--encoding", metavar="NAME", help="Encoding of the file [default: UTF-8, or what a byte order mark says]"
)
@click.option(
    "--columns",
    callback=comma_separated,
    metavar="A,B,...",
    help="Names of the columns, in order, _ for others: of a table without a header (id,text,source,split), of "
    "CoNLL lines (token,tag); the feature that holds the labels in WebAnno TSV (NamedEntity.value)",
)
@click.option(
    "--tag-names", callback=comma_separated, metavar="A,B,...", help="Names of numbered tags, from 0: O,B-PER,..."
)
@click.option("--split", help="Put every task into this split (pool, dev, test) whatever the line says")
@click.option("--sentences", is_flag=True, help="The texts are documents: make each of their sentences a task")
@click.option("--gold", is_flag=True, help="Take each line's `entities` as gold")
@click.option(
    "--silver",
    is_flag=True,
    help="The lines are what `translate-train` wrote: silver to learn from, kept out of review",
)
@click.option("--source-labelled", is_flag=True, help="The lines are labelled source data for the source tagger")
@click.option(
    "--drop-unknown-labels", is_flag=True, help="Leave out entities with a label the project doesn't have"
)
@with_settings("database_url", "project", "labels")
@json_option
def command(settings: Settings, input_path: Path, as_json: bool, **options: object) -> None:
    """Import tasks from a file.

    Formats: JSON Lines as `project` takes them, tables with a column `text` (CSV, TSV), plain text (one sentence a
    line), CoNLL columns, Hugging Face `tokens` and `ner_tags`, Label Studio's JSON export, doccano's and Prodigy's
    JSON Lines, WebAnno TSV 3 (INCEpTION), a folder of brat's files, spaCy's DocBin. Importing the same file again
    adds nothing; what it corrects of the gold counts, and what tasks lacked is added. Bad records are named and
    left out (exit 5).
    """
    from xner_label.exchange.importing import ImportOptions, import_file
    from xner_label.exchange.silver import import_silver
    from xner_label.store.database import open_store
    from xner_label.store.labels import agreed

    options = {
        name: () if value is None and name in ("columns", "tag_names") else value
        for name, value in options.items()
    }
    silver = options.pop("silver")
    chosen = ImportOptions(**options)  # type: ignore[arg-type]
    with open_store(settings.database_url) as store, console_progress() as progress:
        settings = agreed(store, settings)
        progress.begin("importing")
        read = import_silver if silver else import_file
        report = read(store, settings.project, settings.labels, input_path, chosen, progress)
    what = "labelled source sentence" if options["source_labelled"] else "silver text" if silver else "task"
    gold = f", {report.gold} with gold" if options["gold"] else ""
    words = f"{counted(report.added, what)} added{gold}, {report.known} already there, {report.bad} bad"
    if report.documents:
        words = f"{counted(report.documents, 'document')}: {words}"
    answer(report.summary(), words, as_json=as_json)
    if report.completed:
        say(f"{report.completed} of those already there got what they lacked")
    if report.gold_corrected:
        say(
            f"{counted(report.gold_corrected, 'task has', 'tasks have')} other gold than "
            f"before: the new one counts"
        )
    if report.trimmed:
        say(f"{counted(report.trimmed, 'entity')} lost white space at the borders")
    for note, count in report.notes.most_common():
        say(f"{note} ({counted(count, 'record')})")
    report_partial(report.errors, report.bad)
