"""`xner-label serve`: run the ML backend."""

from __future__ import annotations

import logging

import click

from xner_label.cli.options import json_option, with_settings
from xner_label.cli.output import answer, say
from xner_label.errors import ConfigurationError, MissingExtraError
from xner_label.logs import configure_logging
from xner_label.settings.table import Settings


@click.command(name="serve")
@click.option("--verbose", is_flag=True, help="Log every request, not only what needs attention")
@with_settings(
    *("database_url", "project", "preset", "projector", "studio_url"),
    *("backend_host", "backend_port", "backend_user", "backend_sync_after", "training_folder", "log_format"),
)
@json_option
def command(settings: Settings, verbose: bool, as_json: bool) -> None:
    """Answer Label Studio until interrupted (Ctrl-C or SIGTERM).

    Writes `listening on URL` to standard output once requests are taken, and its log to standard error.
    Predictions that are in the store are served from it; new tasks are predicted and stored; a newly promoted
    model is served from the next request on.
    """
    try:
        from xner_label_backend.server import serve
    except ModuleNotFoundError as error:
        raise MissingExtraError("backend", f"`xner-label serve` (no module {error.name})") from None
    from xner_label.pipeline.checking import require_stages
    from xner_label.store.database import Pool, open_store
    from xner_label.store.labels import agreed

    configure_logging(settings.log_format)
    for name in ("xner_label", "xner_label_backend"):
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)
    try:
        require_stages(settings)
    except ConfigurationError as error:
        say(f"stored predictions are served, new tasks can't be predicted: {error}")
    pool = Pool(settings.database_pool_size, settings.database_pool_overflow, settings.database_pool_wait)
    with open_store(settings.database_url, pool=pool) as store:
        serve(
            store,
            agreed(store, settings),
            lambda url: answer({"listening": url}, f"listening on {url}", as_json=as_json),
        )
