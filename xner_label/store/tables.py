"""The tables. Predictions, annotations, corrections, model runs and promotions are append-only.

Every constraint has a name, so that migrations can speak of it. Times are UTC; offsets are code points, end
exclusive; probabilities are checked to lie in 0..1.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from xner_label.store.base import Base, probability_check, utc_now
from xner_label.store.document_tables import Document as Document
from xner_label.store.document_tables import DocumentSentence as DocumentSentence
from xner_label.store.job_table import Job as Job
from xner_label.store.name_tables import NameAnswer as NameAnswer
from xner_label.store.name_tables import NameProject as NameProject
from xner_label.store.name_tables import NameQuestion as NameQuestion


class PipelineVersion(Base):
    """What makes predictions: every stage and option as one long ``signature``, and a short ``name`` for people.

    Label Studio knows it by its name (model_version). A trained model has a row here too: its version is both.
    """

    __tablename__ = "pipelines"

    id: Mapped[int] = mapped_column(primary_key=True)
    signature: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Project(Base):
    """A labelling project, and where it lives in Label Studio once connected.

    ``pipeline`` made its newest complete prediction: what is pushed, served and exported.
    ``studio_created_at`` is when the project was made over there, by that server's clock: another project with the
    same number, on a server that began anew, was made at another time. ``studio_source_field`` is the field of a
    task's data in which a joined project shows the source; None: ours. ``majority`` says whether more than half
    of at least three people settle what they disagree about.
    """

    __tablename__ = "projects"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    labels: Mapped[list[Any]]
    pipeline_id: Mapped[int | None] = mapped_column(ForeignKey("pipelines.id"))
    studio_url: Mapped[str | None]
    studio_project: Mapped[int | None]
    studio_backend: Mapped[int | None]
    studio_webhook: Mapped[int | None]
    studio_created_at: Mapped[datetime | None]
    studio_text_field: Mapped[str | None]
    studio_source_field: Mapped[str | None]
    majority: Mapped[bool] = mapped_column(default=False, server_default=false())
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    pipeline: Mapped[PipelineVersion | None] = relationship(lazy="selectin")

    __table_args__ = (UniqueConstraint("studio_url", "studio_project"),)


class Task(Base):
    """One target-language text. ``external_id`` is the user's id, as text; ``text_hash`` its SHA-256 in hex.

    ``source_entities`` is a list of {start, end, label, score?}; None where no tagger has run. ``translator_id``
    and ``tagger_id`` name the stage that made the source and its entities; None where people gave them, as they
    did ``tokens``, ``source_tokens`` and ``alignment``.
    """

    __tablename__ = "tasks"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    external_id: Mapped[str]
    split: Mapped[str] = mapped_column(default="pool")
    text: Mapped[str]
    text_hash: Mapped[str]
    tokens: Mapped[list[Any] | None]
    source: Mapped[str | None]
    source_tokens: Mapped[list[Any] | None]
    source_entities: Mapped[list[Any] | None]
    alignment: Mapped[str | None]
    translator_id: Mapped[int | None] = mapped_column(ForeignKey("stages.id"))
    tagger_id: Mapped[int | None] = mapped_column(ForeignKey("stages.id"))
    studio_task: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    __table_args__ = (
        UniqueConstraint("project_id", "external_id"),
        UniqueConstraint("project_id", "studio_task"),
        Index(None, "project_id", "text_hash"),
        Index(None, "project_id", "split"),
    )


class StageVersion(Base):
    """A stage before the projection with its options. ``role``: translator, tagger or aligner."""

    __tablename__ = "stages"

    id: Mapped[int] = mapped_column(primary_key=True)
    role: Mapped[str]
    signature: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    __table_args__ = (UniqueConstraint("role", "signature"),)


class StageResult(Base):
    """What a stage added to a task, kept for good: some stages can't be repeated exactly, and all take time.

    ``fingerprint`` is that of the stage's input: tagging another translation is another result. ``added`` holds
    the fields that the stage adds to a task, by name.
    """

    __tablename__ = "stage_results"

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"))
    stage_id: Mapped[int] = mapped_column(ForeignKey("stages.id"), index=True)
    fingerprint: Mapped[str]
    added: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    __table_args__ = (UniqueConstraint("task_id", "stage_id", "fingerprint"),)


class SourceSentence(Base):
    """Labelled source-language data, from which a source tagger is trained."""

    __tablename__ = "source_sentences"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    external_id: Mapped[str]
    text: Mapped[str]
    entities: Mapped[list[Any]]

    __table_args__ = (UniqueConstraint("project_id", "external_id"),)


class Prediction(Base):
    """All entities of one task by one pipeline version or one trained model (then ``model_run_id`` is set)."""

    __tablename__ = "predictions"

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"))
    pipeline_id: Mapped[int] = mapped_column(ForeignKey("pipelines.id"))
    model_run_id: Mapped[int | None] = mapped_column(ForeignKey("model_runs.id"))
    confidence: Mapped[float]
    note: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    pipeline: Mapped[PipelineVersion] = relationship(lazy="selectin")
    entities: Mapped[list[ProjectedEntity]] = relationship(
        order_by="ProjectedEntity.position", back_populates="prediction", cascade="all, delete-orphan"
    )

    __table_args__ = (
        UniqueConstraint("task_id", "pipeline_id"),
        # the least confident ones of a version are read from it in order, and it counts them
        Index(None, "pipeline_id", "confidence", "task_id"),
        probability_check("confidence"),
    )


class ProjectedEntity(Base):
    """One entity of a prediction with its provenance. ``region`` is its id in Label Studio."""

    __tablename__ = "projected_entities"

    id: Mapped[int] = mapped_column(primary_key=True)
    prediction_id: Mapped[int] = mapped_column(ForeignKey("predictions.id", ondelete="CASCADE"))
    position: Mapped[int]
    region: Mapped[str]
    start: Mapped[int]
    end: Mapped[int]
    label: Mapped[str]
    text: Mapped[str]
    score: Mapped[float]
    confidence: Mapped[float]
    source_start: Mapped[int | None]
    source_end: Mapped[int | None]
    source_label: Mapped[str | None]
    source_text: Mapped[str | None]
    provenance: Mapped[dict[str, Any] | None]

    prediction: Mapped[Prediction] = relationship(back_populates="entities")

    __table_args__ = (
        UniqueConstraint("prediction_id", "position"),
        UniqueConstraint("prediction_id", "region"),
        probability_check("confidence"),
        CheckConstraint('start >= 0 AND "end" > start', name="span_is_ordered"),
    )


class ReviewBatch(Base):
    """One decision about what people should look at."""

    __tablename__ = "review_batches"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    strategy: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class ReviewItem(Base):
    """A task chosen for review; ``prediction_id`` is None where it is served blind; ``drawn`` at random from all
    that could be chosen.

    A task is chosen once: that is what makes a repeated push add nothing. ``pushed_at`` is None until Label
    Studio is known to hold the task; ``sent_at`` without it means that the task is on its way, or that the process
    which sent it never learned whether it arrived. ``shown_version`` is the version under which Label Studio is
    known to hold the prediction (of a blind task: an empty one), and ``prediction_sent_at`` what ``sent_at`` is to
    the task: Label Studio may store a task and lose the prediction that came with it. ``fields_digest`` names what
    else it was sent about the task, and ``hints`` lists the possible entities among that.
    """

    __tablename__ = "review_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("review_batches.id", ondelete="CASCADE"))
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"), unique=True)
    prediction_id: Mapped[int | None] = mapped_column(ForeignKey("predictions.id"), index=True)
    position: Mapped[int]
    drawn: Mapped[bool] = mapped_column(default=False, server_default=false())
    sent_at: Mapped[datetime | None]
    pushed_at: Mapped[datetime | None]
    prediction_sent_at: Mapped[datetime | None]
    shown_version: Mapped[str | None]
    fields_digest: Mapped[str | None]
    hints: Mapped[list[Any] | None]

    __table_args__ = (Index(None, "batch_id", "position"),)


class Annotation(Base):
    """One state of an annotation in Label Studio, or imported gold (then ``studio_annotation`` is None).

    A changed annotation adds a row, and so does gold that is imported again with other entities; the row with the
    newest ``studio_updated_at``, of imported gold the newest row, counts. ``regions`` is Label Studio's result
    list as received; ``lead_time`` is in seconds; ``ground_truth`` is the star that somebody gave it there,
    ``ground_truth_by`` who changed it last, which the star is a change of. ``deleted``: the annotation counts no
    more; ``withdrawn``: because somebody withdrew it here, whatever Label Studio holds.
    """

    __tablename__ = "annotations"

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"), index=True)
    origin: Mapped[str]
    studio_annotation: Mapped[int | None]
    studio_updated_at: Mapped[datetime | None]
    annotator: Mapped[str | None]
    skipped: Mapped[bool] = mapped_column(default=False)
    deleted: Mapped[bool] = mapped_column(default=False)
    withdrawn: Mapped[bool] = mapped_column(default=False, server_default=false())
    ground_truth: Mapped[bool] = mapped_column(default=False, server_default=false())
    ground_truth_by: Mapped[str | None]
    lead_time: Mapped[float | None]
    regions: Mapped[list[Any]]
    entities: Mapped[list[Any]]
    prediction_id: Mapped[int | None] = mapped_column(ForeignKey("predictions.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    corrections: Mapped[list[Correction]] = relationship(back_populates="annotation", cascade="all, delete-orphan")

    __table_args__ = (
        UniqueConstraint("task_id", "studio_annotation", "studio_updated_at", "deleted"),
        CheckConstraint("origin IN ('studio', 'import')", name="origin_is_known"),
    )


class Correction(Base):
    """What a person did with one entity: kept, moved, relabelled, removed or added.

    ``projected_entity_id`` is None for an added one; ``start``, ``end`` and ``label`` are the outcome, None for
    a removed one. An entity that was moved and relabelled counts as moved; its label tells the rest.
    """

    __tablename__ = "corrections"

    id: Mapped[int] = mapped_column(primary_key=True)
    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id", ondelete="CASCADE"), index=True)
    projected_entity_id: Mapped[int | None] = mapped_column(ForeignKey("projected_entities.id"), index=True)
    kind: Mapped[str]
    start: Mapped[int | None]
    end: Mapped[int | None]
    label: Mapped[str | None]

    annotation: Mapped[Annotation] = relationship(back_populates="corrections")

    __table_args__ = (
        UniqueConstraint("annotation_id", "projected_entity_id"),
        CheckConstraint("kind IN ('kept', 'moved', 'relabelled', 'removed', 'added')", name="kind_is_known"),
    )


class ModelRun(Base):
    """One training run. ``version`` is what Label Studio sees as model_version; ``path`` the model's folder,
    ``artefact`` the SHA-256 (hex) of the files in it."""

    __tablename__ = "model_runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    version: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    path: Mapped[str]
    gold_tasks: Mapped[int]
    silver_tasks: Mapped[int]
    config: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    artefact: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class LearnedAnnotation(Base):
    """An annotation that a model run has learned from as gold."""

    __tablename__ = "learned_annotations"

    model_run_id: Mapped[int] = mapped_column(ForeignKey("model_runs.id", ondelete="CASCADE"), primary_key=True)
    annotation_id: Mapped[int] = mapped_column(
        ForeignKey("annotations.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class Promotion(Base):
    """A model run becoming the one that is served, by whom and why; the newest promotion of a project counts."""

    __tablename__ = "promotions"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    model_run_id: Mapped[int] = mapped_column(ForeignKey("model_runs.id"))
    reason: Mapped[str]
    promoted_by: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class SyncState(Base):
    """How far a project has been synchronised; moves in the same transaction as the rows it covers.

    ``generation`` rises with every sync that wrote: one that finds another number than when it began to ask has
    been overtaken.
    """

    __tablename__ = "sync_state"

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    cursor: Mapped[datetime | None]
    generation: Mapped[int] = mapped_column(default=0, server_default="0")
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)


class ExcludedTask(Base):
    """A task that somebody set aside: it isn't predicted, chosen, learned from or counted as gold."""

    __tablename__ = "excluded_tasks"

    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    reason: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Acknowledgement(Base):
    """An annotation in a state that can't be used, which somebody has seen and doesn't want to hear of again."""

    __tablename__ = "acknowledgements"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    studio_annotation: Mapped[int]
    studio_updated_at: Mapped[datetime]
    problem: Mapped[str]
    reason: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    __table_args__ = (UniqueConstraint("project_id", "studio_annotation", "studio_updated_at"),)


class Decision(Base):
    """What somebody decided where annotators disagreed; the newest decision about a task counts.

    ``annotations`` are the ids (rows of this store) of the annotations that were decided between: a later one
    opens the question again unless it says the same.
    """

    __tablename__ = "decisions"

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"), index=True)
    entities: Mapped[list[Any]]
    annotations: Mapped[list[Any]]
    decided_by: Mapped[str]
    reason: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class ShownConflict(Base):
    """A task that Label Studio shows as disputed; ``digest`` names what it shows of the dispute."""

    __tablename__ = "shown_conflicts"

    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[str]


class CacheEntry(Base):
    """What a pipeline stage keeps between runs: translations, alignment priors."""

    __tablename__ = "cache_entries"

    namespace: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[bytes] = mapped_column(LargeBinary)


class CorpusState(Base):
    """What the sentences of a project tell of each other, and what was learned from people, at some point.

    ``signature`` is part of the pipeline's; ``gold`` is a hash of the answers it knows, ``annotation_id`` the
    newest annotation among them and ``name_answer_id`` the newest answer about a name, 0 before there was any;
    ``content`` is a document of ``predicting``; ``created_at`` says when it became the newest.
    """

    __tablename__ = "corpus_states"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    signature: Mapped[str]
    gold: Mapped[str]
    annotation_id: Mapped[int]
    name_answer_id: Mapped[int] = mapped_column(default=0, server_default="0")
    content: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    __table_args__ = (UniqueConstraint("project_id", "signature"),)


class CorpusAddition(Base):
    """What a task that came after a state adds to its counts."""

    __tablename__ = "corpus_additions"

    state_id: Mapped[int] = mapped_column(ForeignKey("corpus_states.id", ondelete="CASCADE"), primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)
