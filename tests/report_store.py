"""A store in which people have reviewed a little of everything, for what reports are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from xner_label.entities import Entity, Prediction, ProjectedEntity, SourceMention, Task
from xner_label.review.plans import make_plan
from xner_label.store import predictions, projects, tables, tasks
from xner_label.store.base import utc_now
from xner_label.store.database import Store

SENTENCE = "Rais wa Kenya"
SOURCE = "The president of Kenya"
_KENYA = (8, 13)
_MONDAY = datetime(2026, 11, 23, 9, tzinfo=UTC)
METRICS = {"f1": 0.8, "ci95": [0.7, 0.9], "precision": 0.8, "recall": 0.8, "per_label": {}}


def fill(store: Store, count: int = 12) -> None:
    """``count`` tasks about Kenya: planned, then settled by two people in two weeks but the last, every third as
    no entity, every fourth as a person of the project; two model runs, the second promoted; a name card that is
    answered."""
    with store.write() as session:
        project = projects.ensure_project(session, "default", ["PER", "LOC"])
        items = [
            Task(
                id=str(number),
                text=SENTENCE,
                source=SOURCE,
                alignment="0-0 1-0 2-1 3-2",
                source_entities=(Entity(17, 22, "LOC"),),
            )
            for number in range(count)
        ]
        tasks.add_tasks(session, project.id, [(task, "pool") for task in items])
        ids = tasks.ids_by_external(session, project.id, [str(number) for number in range(count)])
        made = [_prediction(number) for number in range(count)]
        predictions.add_predictions(session, [(ids[str(prediction.id)], prediction) for prediction in made])
        project.pipeline_id = predictions.predictions_of(session, project.id, "p")[0][1].pipeline_id
        question = _card(session, project)
    make_plan(store, "default", 1.0)
    with store.write() as session:
        project = projects.get_project(session, "default")
        stored = {task.id: prediction for task, prediction in predictions.predictions_of(session, project.id, "p")}
        for number in range(count - 1):
            _answer(session, ids[str(number)], stored[ids[str(number)]], number, "ann@example.org")
            if number < 4:
                _answer(session, ids[str(number)], stored[ids[str(number)]], number, "bob@example.org")
        _runs(session, project)
        _answer_card(session, question)


def _prediction(number: int) -> Prediction:
    start, end = _KENYA
    source = SourceMention(17, 22, "LOC", "Kenya")
    entity = ProjectedEntity(start, end, "LOC", SENTENCE[start:end], 1.0, 0.5 + number % 5 / 10, source)
    return Prediction(str(number), SENTENCE, (entity,), entity.confidence, "p")


def _answer(session: Session, task_id: int, prediction: tables.Prediction, number: int, annotator: str) -> None:
    kind = "removed" if number % 3 == 2 else "relabelled" if number % 4 == 3 else "kept"
    start, end = _KENYA
    label = {"kept": "LOC", "relabelled": "PER"}.get(kind)
    place = (None, None) if label is None else (start, end)
    correction = tables.Correction(
        projected_entity_id=prediction.entities[0].id, kind=kind, start=place[0], end=place[1], label=label
    )
    session.add(
        tables.Annotation(
            task_id=task_id,
            origin="studio",
            studio_annotation=2 * number + (annotator[0] == "b"),
            studio_updated_at=_MONDAY + timedelta(hours=number, weeks=number % 2),
            annotator=annotator,
            lead_time=10.0 + number,
            regions=[],
            entities=[] if label is None else [{"start": start, "end": end, "label": label}],
            prediction_id=prediction.id,
            corrections=[correction],
            created_at=utc_now() + timedelta(seconds=1),
        )
    )


def _runs(session: Session, project: tables.Project) -> None:
    made = [
        tables.ModelRun(
            project_id=project.id,
            version=f"crf-{gold}",
            kind="crf",
            path=f"crf-{gold}",
            gold_tasks=gold,
            silver_tasks=100,
            config={},
            metrics={"dev": {"tasks": 5, "model": METRICS, "text_only": METRICS, "silver": None}, "test": None},
        )
        for gold in (10, 20)
    ]
    session.add_all(made)
    session.flush()
    session.add(tables.Promotion(project_id=project.id, model_run_id=made[1].id, reason="better"))


def _card(session: Session, project: tables.Project) -> int:
    question = tables.NameQuestion(
        project_id=project.id, source_name="kenya", target_text="kenya", label="LOC", occurrences=12, card={}
    )
    session.add(question)
    session.flush()
    return question.id


def _answer_card(session: Session, question: int) -> None:
    session.add(
        tables.NameAnswer(
            question_id=question,
            studio_annotation=1,
            studio_updated_at=_MONDAY,
            annotator="ann@example.org",
            kind="label",
            value="LOC",
        )
    )
