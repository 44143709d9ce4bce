"""`xner-label worker`: jobs that webhooks, Label Studio's buttons and the clock ask for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import TYPE_CHECKING

import click
import msgspec

from xner_label.cli.options import FiniteRange, json_option, with_settings
from xner_label.errors import PartialError
from xner_label.jobs.interrupts import terminating_interrupts
from xner_label.logs import configure_logging
from xner_label.settings.choices import JOB_KINDS
from xner_label.settings.table import Settings
from xner_label.wording import counted

if TYPE_CHECKING:
    from xner_label.jobs.worker import Done


@click.command(name="worker")
@click.option("--once", is_flag=True, help="Do what is due now, then end; exit 5 if some of it failed")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(JOB_KINDS),
    help="Only jobs of this kind; may be repeated [default: every kind]",
)
@click.option(
    "--lease",
    type=FiniteRange(min=1.0),
    default=60.0,
    show_default=True,
    help="Seconds without a sign of life after which another worker takes the job",
)
@with_settings(
    *("database_url", "project", "preset", "studio_url", "training_folder"),
    *("sync_every", "predict_every", "train_every", "train_if_new_gold", "log_format"),
)
@json_option
def command(settings: Settings, once: bool, kinds: tuple[str, ...], lease: float, as_json: bool) -> None:
    """Work on jobs until interrupted (Ctrl-C or SIGTERM): sync, predict, train.

    Webhooks and Label Studio's Start Training button leave jobs in the database; --sync-every, --predict-every and
    --train-every add to them by the clock. Any number of workers may run: each job is taken by one, and a job
    whose worker was killed is taken again. One line per job goes to standard output, with --json as JSON Lines.
    """
    from xner_label.jobs.worker import Worker
    from xner_label.store.database import Pool, open_store

    configure_logging(settings.log_format)
    every = {"sync": settings.sync_every, "predict": settings.predict_every, "train": settings.train_every}
    pool = Pool(settings.database_pool_size, settings.database_pool_overflow, settings.database_pool_wait)
    with open_store(settings.database_url, pool=pool) as store:
        worker = Worker(store, settings, kinds or JOB_KINDS, lease=lease, ended=_tell(as_json=as_json))
        if once:
            _, failed = worker.run_due()
            if failed:
                raise PartialError(f"{counted(failed, 'job')} failed", hint="`xner-label status` says why")
            return
        with suppress(KeyboardInterrupt), terminating_interrupts() as interrupts:
            worker.run(Event(), every, lambda: interrupts.received)


def _tell(*, as_json: bool) -> Callable[[Done], None]:
    def tell(done: Done) -> None:
        if as_json:
            click.echo(msgspec.json.encode(done).decode())
        else:
            counts = ", ".join(f"{value} {name}" for name, value in (done.outcome or {}).items())
            click.echo(f"{done.kind}: {counts if done.problem is None else done.problem}")

    return tell
