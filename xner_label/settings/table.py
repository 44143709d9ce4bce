"""ONE table of settings: each field of Settings with its TOML key, environment variable, default and help.

The command line builds its flags from the table, `docs/settings.md` is generated from it, and a test holds them
together. A value is taken from the flag, else the environment, else the file, else the preset, else the default,
and must follow its rule wherever it comes from. Secrets come only from the environment or from a file that an
environment variable names; they are refused in the TOML and never shown. So are passwords within URLs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from types import MappingProxyType
from typing import Any, TypeVar

from xner_label.settings.choices import (
    ALIGNERS,
    DTYPES,
    MATCHINGS,
    METHODS,
    PROJECTORS,
    SCORES,
    TAGGERS,
    TOKEN_TYPES,
    TRANSLATORS,
)
from xner_label.settings.rules import Choice, Form, Names, Range, Rule

T = TypeVar("T")

FILE_NAME = "xner-label.toml"

# What each preset changes; everything else keeps its default.
PRESETS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "offline": {"translator": "given", "tagger": "crf", "aligner": "eflomal"},
        "fast": {
            "translator": "ctranslate2",
            "translator_model": "facebook/nllb-200-distilled-600M",
            "tagger": "transformers",
            "tagger_model": "FacebookAI/xlm-roberta-large-finetuned-conll03-english",
            "aligner": "mt-encoder",
            "aligner_model": "facebook/nllb-200-distilled-600M",
        },
        "paper": {
            "translator": "transformers",
            "translator_model": "facebook/nllb-200-3.3B",
            "tagger": "transformers",
            "tagger_model": "FacebookAI/xlm-roberta-large-finetuned-conll03-english",
            "aligner": "simalign",
            "aligner_model": "google-bert/bert-base-multilingual-cased",
        },
    }
)

_LANGUAGE = r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*"
_LANGUAGE_CODE = "an ISO 639 code such as sw or swh, with a script where it needs one (zho_Hant)"


def setting(
    default: T,
    toml: str,
    help: str,
    *,
    env: str | tuple[str, ...] = (),
    secret: bool = False,
    url: bool = False,
    rule: Rule | None = None,
) -> T:
    """Describe one setting. ``toml`` is its dotted key; ``env`` the variables that set it, first wins.

    ``url`` says that the value may hold a password, which is treated like a secret then.
    """
    names = (env,) if isinstance(env, str) else env
    if not names and not secret:
        names = ("XNER_LABEL_" + toml.upper().replace(".", "_"),)
    metadata = {"toml": toml, "help": help, "env": names, "secret": secret, "url": url, "rule": rule}
    return field(default=default, metadata=metadata, repr=not (secret or url))  # type: ignore[no-any-return, call-overload]


@dataclass(frozen=True)
class Settings:
    """Everything that can be configured. See the module's docstring for where values come from.

    ``chosen`` names the settings that a flag, the environment or the file gives, and not the preset or a default.
    """

    project: str = setting(
        "default", "project", "Name of the project in the store", rule=Form(r"(?s).*\S.*", "a name")
    )
    labels: tuple[str, ...] = setting(
        ("PER", "ORG", "LOC", "DATE"), "labels", "The label set of the project", rule=Names(least=1)
    )
    preset: str = setting("offline", "preset", "Pipeline preset", rule=Choice(tuple(PRESETS)))
    source_language: str = setting(
        "en",
        "source_language",
        "ISO 639 code of the language that is tagged",
        rule=Form(_LANGUAGE, _LANGUAGE_CODE),
    )
    target_language: str = setting(
        "",
        "target_language",
        "ISO 639 code of the language that is annotated",
        rule=Form(f"(?:{_LANGUAGE})?", _LANGUAGE_CODE),
    )

    database_url: str = setting(
        "sqlite:///xner-label.db", "database.url", "SQLAlchemy URL of the store: SQLite or PostgreSQL", url=True
    )

    database_pool_size: int = setting(
        5, "database.pool_size", "Connections to PostgreSQL that `serve` and `worker` keep open", rule=Range(1)
    )
    database_pool_overflow: int = setting(
        10, "database.pool_overflow", "How many more they may open for a while", rule=Range(0)
    )
    database_pool_wait: float = setting(
        30.0, "database.pool_wait", "Seconds that a request waits for a free one", rule=Range(0)
    )

    studio_url: str = setting(
        "http://127.0.0.1:8080",
        "studio.url",
        "Address of Label Studio",
        env=("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST"),
        rule=Form(r"https?://\S+", "an address such as http://127.0.0.1:8080"),
    )
    disagreements: str = setting(
        "decide",
        "studio.disagreements",
        "What settles it when people disagree: somebody who decides, or more than half of at least three",
        rule=Choice(("decide", "majority")),
    )
    studio_api_key: str = setting(
        "",
        "studio.api_key",
        "Label Studio token, legacy or personal access",
        env="LABEL_STUDIO_API_KEY",
        secret=True,
    )

    translator: str = setting(
        "given", "pipeline.translator", "Translator; given: the tasks bring their source", rule=Choice(TRANSLATORS)
    )
    translator_model: str = setting("", "pipeline.translator_model", "Checkpoint of the translator")
    marker_model: str = setting(
        "",
        "pipeline.marker_model",
        "Checkpoint that translates marked texts (easyproject, xml, codec); empty: the translator's",
    )
    translator_beams: int = setting(
        4, "pipeline.translator_beams", "Beams of the translator's search", rule=Range(1)
    )
    tagger: str = setting(
        "given",
        "pipeline.tagger",
        "Source tagger; given: the tasks bring their source entities",
        rule=Choice(TAGGERS),
    )
    tagger_model: str = setting("", "pipeline.tagger_model", "Checkpoint of the source tagger")
    tagger_map: tuple[str, ...] = setting(
        (),
        "pipeline.tagger_map",
        "How labels of the tagger's checkpoint translate, for example GPE=LOC",
        rule=Names(expression=r"[^=\s]+=[^=\s]+", described="each is of the form GPE=LOC"),
    )
    tagger_prompts: tuple[str, ...] = setting(
        (),
        "pipeline.tagger_prompts",
        "What the taggers gliner and llm are to look for, in words, for example SHIP=name of a ship",
        rule=Names(expression=r"[^=\s]+=[^=]*[^=\s]", described="each is of the form SHIP=name of a ship"),
    )
    aligner: str = setting(
        "given",
        "pipeline.aligner",
        "Word aligner; given: the tasks bring their links",
        rule=Choice(("given", "none", *ALIGNERS), joinable=ALIGNERS),
    )
    aligner_model: str = setting("", "pipeline.aligner_model", "Checkpoint of the aligner")
    aligner_method: str = setting(
        "",
        "pipeline.aligner_method",
        "How links are read from similarities; empty: the aligner's own way",
        rule=Choice(("", *METHODS)),
    )
    aligner_token_type: str = setting(
        "bpe",
        "pipeline.aligner_token_type",
        "What the aligner compares: bpe (subtokens) or word",
        rule=Choice(TOKEN_TYPES),
    )
    aligner_layer: int = setting(
        -1, "pipeline.aligner_layer", "Layer of the aligner's encoder; below 0: the aligner's own", rule=Range(-1)
    )
    projector: str = setting(
        "default",
        "pipeline.projector",
        "How target spans are chosen",
        rule=Choice(PROJECTORS, summable=SCORES, suffixes=MATCHINGS),
    )
    target_tagger: str = setting(
        "",
        "pipeline.target_tagger",
        "Target tagger for transfer, ensemble and ner scores: run (the promoted one), a CRF file or a checkpoint",
    )
    projector_weights: str = setting(
        "",
        "pipeline.projector_weights",
        "Weights of the projector: a file, or default or permissive (shipped); empty: default",
    )
    corpus_limit: int = setting(
        50_000,
        "pipeline.corpus_limit",
        "Tasks that teach corpus mode in `predict` (default projector); the others inform each other through "
        "counts; 0: every task stands alone",
        rule=Range(0),
    )

    llm_url: str = setting(
        "",
        "llm.url",
        "Address of an OpenAI-compatible endpoint for translator and tagger llm; local servers have one, too",
        url=True,
        rule=Form(r"(?:https?://\S+)?", "an address such as http://127.0.0.1:11434/v1"),
    )
    llm_api_key: str = setting(
        "", "llm.api_key", "Key that the endpoint wants", env="XNER_LABEL_LLM_API_KEY", secret=True
    )
    llm_parallel: int = setting(
        4, "llm.parallel", "Requests that the endpoint is sent at a time, at most", rule=Range(1, 256)
    )
    llm_timeout: float = setting(
        120.0, "llm.timeout", "Seconds to wait for an answer of the endpoint", rule=Range(0.1, 86400)
    )
    llm_retries: int = setting(
        5,
        "llm.retries",
        "How often a request that failed is tried again, waiting longer each time",
        rule=Range(0, 100),
    )
    llm_input_price: float = setting(
        0.0, "llm.input_price", "Price of a million tokens that are sent; 0: unknown", rule=Range(0.0)
    )
    llm_output_price: float = setting(
        0.0, "llm.output_price", "Price of a million tokens that are answered; 0: unknown", rule=Range(0.0)
    )

    training_folder: str = setting("models", "training.folder", "Folder that trained models are written to")
    min_silver_confidence: float = setting(
        0.3,
        "training.min_silver_confidence",
        "Projected entities below it are unknown text to training",
        rule=Range(0.0, 1.0),
    )
    silver_rule: str = setting(
        "confidence",
        "training.rules.silver",
        "What a silver entity weighs: its confidence, or 1 (equal); none: silver isn't learned from",
        rule=Choice(("confidence", "equal", "none")),
    )
    doubtful_rule: str = setting(
        "unknown",
        "training.rules.doubtful",
        "What the tokens of doubtful silver entities are: unknown, or outside any entity",
        rule=Choice(("unknown", "outside")),
    )
    settled_rule: str = setting(
        "confidence",
        "training.rules.settled",
        "What an entity weighs that people settled by its name: its confidence, or 1 (certain); or it is unknown",
        rule=Choice(("confidence", "certain", "unknown")),
    )
    partly_reviewed_rule: str = setting(
        "silver",
        "training.rules.partly_reviewed",
        "What the rest of a task is in which names alone were settled: silver like any other, or unknown",
        rule=Choice(("silver", "unknown")),
    )
    outside_weight: float = setting(
        0.5,
        "training.rules.outside_weight",
        "What a silver token outside entities weighs in fine-tuning",
        rule=Range(0.0, 1.0),
    )
    gold_weight: int = setting(
        3, "training.rules.gold_weight", "How often gold counts where it is learned beside silver", rule=Range(1)
    )
    max_error: float = setting(
        1.0,
        "training.max_error",
        "Train only on silver of which at most this share is wrong, promised from the audit slice; 1: on all",
        rule=Range(0.0, 1.0),
    )
    dev_share: float = setting(
        0.2,
        "training.dev_share",
        "Share of the gold to hold out where no split but test has gold",
        rule=Range(0.0, 0.9),
    )

    near_duplicates: float = setting(
        0.8,
        "training.near_duplicates",
        "Share of runs of letters (Jaccard) from which a text counts as a held-out one; 1: equal texts only",
        rule=Range(0.1, 1.0),
    )
    without_source: str = setting(
        "auto",
        "training.without_source",
        "How a run answers texts without a source where a translator is configured: from the text alone (text), "
        "beside the projection of a translation (projection), or as held-out gold said is better (auto)",
        rule=Choice(("auto", "text", "projection")),
    )
    model_licence: str = setting("", "training.model_licence", "Licence of exported models, an SPDX name")
    data_licence: str = setting(
        "", "training.data_licence", "Licence of the texts and annotations, an SPDX name; stands in model cards"
    )

    device: str = setting(
        "auto",
        "models.device",
        "Where models run",
        rule=Form(r"auto|cpu|mps|cuda(?::[0-9]+)?", "auto, cpu, cuda, cuda:N or mps"),
    )
    model_cache: str = setting("~/.cache/xner-label", "models.cache", "Folder for converted models")
    dtype: str = setting(
        "auto", "models.dtype", "Number format of models; float16 on a GPU only", rule=Choice(("auto", *DTYPES))
    )

    backend_host: str = setting("127.0.0.1", "backend.host", "Address the ML backend listens on")
    backend_port: int = setting(
        9090, "backend.port", "Port the ML backend listens on; 0 picks a free one", rule=Range(0, 65535)
    )
    backend_url: str = setting(
        "",
        "backend.url",
        "Address at which Label Studio reaches the ML backend",
        rule=Form(r"(?:https?://\S+)?", "an address such as http://127.0.0.1:9090"),
    )
    backend_user: str = setting("", "backend.user", "Basic-auth user that the ML backend asks for; empty: none")
    backend_password: str = setting(
        "", "backend.password", "Basic-auth password", env="XNER_LABEL_BACKEND_PASSWORD", secret=True
    )
    backend_token: str = setting(
        "",
        "backend.token",
        "Bearer token that the ML backend takes in place of user and password",
        env="XNER_LABEL_BACKEND_TOKEN",
        secret=True,
    )
    webhook_secret: str = setting(
        "",
        "backend.webhook_secret",
        "Header secret that webhooks must carry",
        env="XNER_LABEL_WEBHOOK_SECRET",
        secret=True,
    )
    backend_batch: int = setting(
        64, "backend.batch", "Tasks that the ML backend predicts at once, at most", rule=Range(1)
    )
    backend_store_asked: str = setting(
        "authenticated",
        "backend.store_asked",
        "When the ML backend stores tasks it is asked about and doesn't know; authenticated: with Basic auth",
        rule=Choice(("authenticated", "always", "never")),
    )
    backend_report: str = setting(
        "off",
        "backend.report",
        "on: the backend shows the review report under /report, to whoever may ask it for predictions",
        rule=Choice(("off", "on")),
    )
    backend_sync_after: float = setting(
        0.0,
        "backend.sync_after",
        "Seconds without a webhook after which the backend takes annotations over; 0: it leaves that to a worker",
        rule=Range(0.0),
    )

    log_format: str = setting(
        "text",
        "log.format",
        "What is logged to standard error: lines of text, or JSON objects with ids that join them",
        rule=Choice(("text", "json")),
    )

    trace_endpoint: str = setting(
        "",
        "trace.endpoint",
        "Address that takes traces (OTLP over HTTP); empty: that in OTEL_EXPORTER_OTLP_ENDPOINT, or none",
        url=True,
        rule=Form(r"(?:https?://\S+)?", "an address such as http://127.0.0.1:4318"),
    )

    sync_every: float = setting(
        0.0,
        "worker.sync_every",
        "Seconds after which the worker takes annotations over again; 0: only after webhooks",
        rule=Range(0.0),
    )
    predict_every: float = setting(
        0.0,
        "worker.predict_every",
        "Seconds after which the worker predicts again, and so learns from answers; 0: never by itself",
        rule=Range(0.0),
    )
    train_every: float = setting(
        0.0,
        "worker.train_every",
        "Seconds after which the worker trains again; 0: only when somebody asks for it",
        rule=Range(0.0),
    )
    train_if_new_gold: int = setting(
        0,
        "worker.train_if_new_gold",
        "By that clock only where people have settled so many tasks since the last run",
        rule=Range(0),
    )

    chosen: frozenset[str] = field(default=frozenset(), repr=False, compare=False)


def table() -> tuple[Field[Any], ...]:
    """The settings as dataclass fields: name, default, and ``metadata`` as :func:`setting` takes it."""
    return tuple(entry for entry in fields(Settings) if "toml" in entry.metadata)


def default_of(entry: Field[Any]) -> Any:
    """The default of a table entry."""
    return None if entry.default is MISSING else entry.default


def shown_default(entry: Field[Any]) -> str:
    """The default of a table entry as a person would type it; empty for one that says nothing."""
    if any(entry.name in values for values in PRESETS.values()):
        return "the preset's"
    default = default_of(entry)
    if isinstance(default, tuple):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)
