"""``xner-label align``: tasks in, tasks with links out, line by line."""

from __future__ import annotations

import click

from xner_label.cli.options import FiniteRange, input_argument, json_option, output_option, with_settings
from xner_label.cli.output import run_stage
from xner_label.errors import ConfigurationError
from xner_label.settings.choices import ALIGNERS, METHODS, RULES, TOKEN_TYPES
from xner_label.settings.table import Settings

_SHARE = FiniteRange(0.0, 1.0)


@click.command()
@input_argument
@output_option
@with_settings("aligner", "source_language", "target_language", "device", "dtype")
@click.option("--model", help="Checkpoint of the encoder: a folder or a fetched hub name [default: the settings']")
@click.option(
    "--method", type=click.Choice(METHODS), help="[default: itermax for simalign, softmax for mt-encoder]"
)
@click.option("--token-type", type=click.Choice(TOKEN_TYPES), help="Compare subtokens or words [default: bpe]")
@click.option(
    "--layer", type=click.IntRange(min=0), help="[default: two thirds up for simalign, the last for mt-encoder]"
)
@click.option(
    "--distortion", type=_SHARE, default=0.0, show_default=True, help="How much words off the diagonal lose"
)
@click.option(
    "--null-align", type=_SHARE, default=1.0, show_default=True, help="Leave out links less certain than this"
)
@click.option("--threshold", type=_SHARE, default=0.001, show_default=True, help="Least probability, for softmax")
@click.option(
    "--combine",
    type=click.Choice(RULES),
    default="vote",
    show_default=True,
    help="Of several aligners joined by +",
)
@click.option("--strict", is_flag=True, help="Stop at the first bad line, leaving no output file")
@json_option
def command(
    input_path: str,
    output_path: str,
    settings: Settings,
    model: str | None,
    method: str | None,
    token_type: str | None,
    layer: int | None,
    distortion: float,
    null_align: float,
    threshold: float,
    combine: str,
    strict: bool,
    as_json: bool,
) -> None:
    """Align the words of each task with those of its source (JSON Lines in, the same lines with links out).

    A task needs "id", "text" and "source"; its "tokens" and "source_tokens" are used when it has them. Added are
    "tokens", "source_tokens" and "alignment". Aligners: eflomal reads everything first and learns from it;
    simalign and mt-encoder need a checkpoint and answer as the lines come in. A bad line is left out and named on
    standard error; the command then ends with code 5.
    """
    from xner_label.pipeline.assembly import make_aligner
    from xner_label.pipeline.memory_cache import MemoryCache
    from xner_label.pipeline.stage import AlignmentStage, additions

    aligner = make_aligner(
        settings,
        cache=MemoryCache(),
        model=model,
        method=method,
        token_type=token_type,
        layer=layer,
        distortion=distortion,
        null_align=null_align,
        threshold=threshold,
        rule=combine,
    )
    if aligner is None:
        raise ConfigurationError("no aligner is chosen", hint=f"--aligner {'|'.join(ALIGNERS)}")
    stage = AlignmentStage(aligner)
    run_stage(
        input_path,
        output_path,
        lambda tasks: additions(stage, tasks, again=True),
        whole=stage.learns,
        doing="aligning",
        strict=strict,
        as_json=as_json,
    )
