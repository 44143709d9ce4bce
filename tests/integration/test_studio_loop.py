"""connect, push and sync against a real Label Studio."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from xner_label.errors import ConfigurationError, StudioError
from xner_label.review.finishing import calibrate_project
from xner_label.store import gold, pipelines, predictions, runs, tables
from xner_label.studio.attaching import SECRET_HEADER, WEBHOOK_ACTIONS
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.labelling import RANK
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import sync
from xner_label.studio.views import CONFLICTS_TITLE, CONTROL_TITLE, DONE_TITLE, REVIEW_TITLE

pytestmark = pytest.mark.studio


def region(start, end, label, text, key="new"):
    value = {"start": start, "end": end, "text": text[start:end], "labels": [label]}
    return {"id": key, "from_name": "label", "to_name": "text", "type": "labels", "value": value}


@pytest.fixture
def connected(store, studio_settings, examples):
    """The id of a fresh Label Studio project, connected to a store with 6 predictions."""
    examples(store, range(6))
    return connect(store, studio_settings, ConnectOptions()).studio_project


def listed(api, project):
    return list(api.tasks.list(project=project, fields="all"))


def test_connecting_twice_leaves_one_of_everything(store, studio_settings, api, backend_address):
    settings = replace(studio_settings, backend_url=backend_address, webhook_secret="a-secret-header")
    first = connect(store, settings, ConnectOptions())
    again = connect(store, settings, ConnectOptions())
    assert first.created
    assert not again.created
    assert (first.studio_project, first.backend, first.webhook, first.view) == (
        again.studio_project,
        again.backend,
        again.webhook,
        again.view,
    )
    (backend,) = api.ml.list(project=first.studio_project)
    assert backend.id == first.backend
    (hook,) = [hook for hook in api.webhooks.list() if hook.project == first.studio_project]
    assert hook.headers == {SECRET_HEADER: "a-secret-header"}
    assert sorted(hook.actions) == sorted(WEBHOOK_ACTIONS)
    assert not hook.send_for_all_actions
    views = api.views.list(project=first.studio_project)
    assert [view.data["title"] for view in views] == [REVIEW_TITLE, CONTROL_TITLE, CONFLICTS_TITLE, DONE_TITLE]
    assert views[0].id == first.view
    project = api.projects.get(first.studio_project)
    assert (project.sampling, project.show_collab_predictions) == ("Uncertainty sampling", True)


def test_without_a_secret_there_is_no_open_webhook(store, studio_settings, api, backend_address):
    settings = replace(studio_settings, backend_url=backend_address)
    connection = connect(store, settings, ConnectOptions())
    assert connection.backend is not None
    assert connection.webhook is None
    assert "XNER_LABEL_WEBHOOK_SECRET" in " ".join(connection.notes)
    assert [hook for hook in api.webhooks.list() if hook.project == connection.studio_project] == []


def test_a_backend_that_does_not_answer_leaves_no_ghost(store, studio_settings, api):
    settings = replace(studio_settings, backend_url="http://127.0.0.1:9")
    with pytest.raises(StudioError, match="health check failed"):
        connect(store, settings, ConnectOptions())
    made = connect(store, studio_settings, ConnectOptions())
    assert not made.created, "the project of the failed attempt is found again"
    assert api.ml.list(project=made.studio_project) == []


def test_joining_leaves_annotations_and_configuration_alone(store, studio_settings, api):
    config = (
        '<View><Text name="body" value="$body"/><Labels name="ner" toName="body">'
        + "".join(f'<Label value="{label}"/>' for label in (*studio_settings.labels, "EVENT"))
        + "</Labels></View>"
    )
    project = api.projects.create(title="somebody else's", label_config=config)
    api.projects.import_tasks(project.id, request=[{"data": {"body": "Nairobi ni mji"}}])
    (task,) = listed(api, project.id)
    result = [region(0, 7, "LOC", "Nairobi ni mji") | {"from_name": "ner", "to_name": "body"}]
    api.annotations.create(task.id, result=result)
    connection = connect(store, studio_settings, ConnectOptions(studio_project=project.id))
    assert connection.studio_project == project.id
    assert api.projects.get(project.id).label_config == config
    report = sync(store, studio_settings)
    assert (report.new_tasks, report.added) == (1, 1)
    with store.read() as session:
        (settled,) = gold.gold_of(session, 1)
    assert settled.task.text == "Nairobi ni mji"
    assert [(entity.start, entity.end, entity.label) for entity in settled.entities] == [(0, 7, "LOC")]


def test_joining_a_project_without_our_labels_says_which(store, studio_settings, api):
    config = '<View><Text name="t" value="$t"/><Labels name="l" toName="t"><Label value="PER"/></Labels></View>'
    project = api.projects.create(title="fewer labels", label_config=config)
    with pytest.raises(ConfigurationError, match="lacks the labels DATE, LOC, ORG"):
        connect(store, studio_settings, ConnectOptions(studio_project=project.id))
    connect(store, studio_settings, ConnectOptions(studio_project=project.id, replace_config=True))


def test_push_fills_the_queue_with_the_least_confident_once(store, studio_settings, api, connected, examples):
    report = push(store, studio_settings, PushOptions(limit=4))
    assert (report.chosen, report.pushed, report.waiting) == (4, 4, 4)
    again = push(store, studio_settings, PushOptions(limit=4))
    assert (again.chosen, again.pushed, again.waiting) == (0, 0, 4)
    rows = listed(api, connected)
    assert [row.data["xner_id"] for row in rows] == ["t0000", "t0001", "t0002", "t0003"]
    assert rows[1].data["source_text"] == "Amina1 Wanjikũ went to Nairobi."
    assert rows[1].data["min_conf"] == pytest.approx(0.2005)
    (prediction,) = rows[1].predictions
    assert prediction.model_version == "pipeline-1"
    for region in prediction.result:
        value = region["value"]
        assert rows[1].data["text"][value["start"] : value["end"]] == value["text"]
    assert api.projects.get(connected).model_version == "pipeline-1"

    examples(store, range(6), pipeline="pipeline-2")
    report = push(store, studio_settings, PushOptions(limit=5, max_confidence=0.2021))
    assert (report.chosen, report.waiting) == (1, 5)
    assert api.projects.get(connected).model_version == "pipeline-2"


def test_waiting_tasks_follow_the_newest_predictions(store, studio_settings, api, connected, examples):
    push(store, studio_settings, PushOptions(limit=4, blind_share=0.25))
    answered, *_ = [row for row in listed(api, connected) if row.predictions[0].result]
    api.annotations.create(answered.id, result=[])
    sync(store, studio_settings)
    examples(store, range(6), pipeline="pipeline-2")
    assert push(store, studio_settings, PushOptions(limit=0)).refreshed == 2
    assert push(store, studio_settings, PushOptions(limit=0)).refreshed == 0
    # as after a kill between sending and noting it
    with store.write() as session:
        for item in session.scalars(select(tables.ReviewItem).where(tables.ReviewItem.prediction_id.is_not(None))):
            item.shown_version = None
            item.prediction_id = min(
                session.scalars(select(tables.Prediction.id).where(tables.Prediction.task_id == item.task_id))
            )
    assert push(store, studio_settings, PushOptions(limit=0)).refreshed == 2
    versions = [sorted(item.model_version for item in row.predictions) for row in listed(api, connected)]
    assert sorted(versions) == [["pipeline-1"], *[["pipeline-1", "pipeline-2"]] * 3]
    assert api.projects.get(connected).model_version == "pipeline-2"
    row = next(row for row in listed(api, connected) if len(row.predictions) == 2 and row.predictions[0].result)
    api.annotations.create(row.id, result=[])
    assert sync(store, studio_settings).corrections == {"removed": 2}
    with store.read() as session:
        newest = session.scalars(select(tables.Annotation).order_by(tables.Annotation.id.desc())).first()
        assert session.get(tables.Prediction, newest.prediction_id).pipeline.name == "pipeline-2"


def test_waiting_tasks_follow_at_the_next_sync_too_in_their_new_order(
    store, studio_settings, api, connected, examples
):
    push(store, studio_settings, PushOptions(limit=4))
    before = {row.id: row.data[RANK] for row in listed(api, connected)}
    examples(store, range(6), pipeline="pipeline-2")
    with store.write() as session:
        # what was least sure is sure by now
        rows = predictions.predictions_of(session, 1, "pipeline-2")
        for place, (_, prediction) in enumerate(rows):
            prediction.confidence = 0.9 - 0.1 * place
    report = sync(store, studio_settings)
    assert (report.refreshed, report.reordered) == (4, 4)
    rows = listed(api, connected)
    assert {row.predictions[-1].model_version for row in rows} >= {"pipeline-2"}
    assert {row.id: 5 - row.data[RANK] for row in rows} == before
    assert sync(store, studio_settings).refreshed == 0


def test_a_promoted_run_is_pushed_once_it_has_predicted_everything(store, studio_settings, connected, examples):
    with store.write() as session:
        run = tables.ModelRun(
            project_id=1,
            version="run-1",
            kind="crf",
            path="m",
            gold_tasks=1,
            silver_tasks=1,
            config={},
            metrics={},
        )
        session.add(run)
        session.flush()
        runs.promote(session, run, "better", "lead")
    examples(store, range(3), pipeline="run-1")
    with store.write() as session:
        session.get(tables.Project, 1).pipeline = pipelines.ensure_pipeline(session, "pipeline-1")
    assert push(store, studio_settings, PushOptions(limit=1)).version == "pipeline-1"
    examples(store, range(6), pipeline="run-1")
    with store.write() as session:
        session.get(tables.Project, 1).pipeline = pipelines.ensure_pipeline(session, "pipeline-1")
    report = push(store, studio_settings, PushOptions(limit=2))
    assert (report.version, report.chosen, report.refreshed) == ("run-1", 1, 1)


def test_a_dry_run_changes_nothing(store, studio_settings, api, connected):
    report = push(store, studio_settings, PushOptions(limit=4, dry_run=True))
    assert (report.chosen, report.pushed, report.waiting) == (4, 0, 0)
    assert listed(api, connected) == []


def test_the_control_slice_is_shown_blind(store, studio_settings, api, connected):
    report = push(store, studio_settings, PushOptions(limit=4, blind_share=0.5))
    assert (report.chosen, report.blind) == (4, 2)
    rows = listed(api, connected)
    assert sorted(len(row.predictions[0].result) for row in rows) == [0, 0, 2, 2]
    assert all(("min_conf" in row.data) == bool(row.predictions[0].result) for row in rows)
    blind = next(row for row in rows if not row.predictions[0].result)
    api.annotations.create(blind.id, result=[])
    assert sync(store, studio_settings).corrections == {}


def test_the_audit_slice_is_drawn_at_random_and_answers_about_it_count(store, studio_settings, api, connected):
    report = push(store, studio_settings, PushOptions(limit=4, blind_share=0.25, audit_share=0.5))
    assert (report.chosen, report.drawn, report.blind) == (4, 3, 1)
    rows = listed(api, connected)
    assert sorted(len(row.predictions[0].result) for row in rows) == [0, 2, 2, 2]
    for row in rows:
        api.annotations.create(row.id, result=row.predictions[0].result, lead_time=8.0)
    sync(store, studio_settings)
    calibrated = calibrate_project(store, studio_settings.project)
    assert calibrated.calibrator.entities == 8
    assert calibrated.calibrator.audited == 6
    assert calibrated.note is not None


def test_corrections_come_back_once(store, studio_settings, api, connected):
    push(store, studio_settings, PushOptions(limit=6))
    rows = listed(api, connected)
    kept, moved, relabelled, emptied, skipped, _ = rows
    results = [row.predictions[0].result for row in rows]
    api.annotations.create(kept.id, result=results[0], lead_time=12.5)
    text = moved.data["text"]
    person, place = results[1]
    start = person["value"]["start"]
    shorter = region(start, start + 6, "PER", text, key=person["id"])
    added = region(text.index("wakulima"), text.index("wakulima") + 8, "ORG", text)
    api.annotations.create(moved.id, result=[shorter, place, added])
    person, place = results[2]
    place["value"]["labels"] = ["ORG"]
    api.annotations.create(relabelled.id, result=[place])
    api.annotations.create(emptied.id, result=[])
    api.annotations.create(skipped.id, result=results[4], was_cancelled=True)

    report = sync(store, studio_settings)
    assert (report.added, report.skipped, report.new_tasks, report.rejected) == (4, 1, 0, [])
    assert report.corrections == {"kept": 3, "moved": 1, "added": 1, "relabelled": 1, "removed": 3}
    again = sync(store, studio_settings)
    assert (again.added, again.updated, again.deleted) == (0, 0, 0)
    assert sync(store, studio_settings, full=True).added == 0
    with store.read() as session:
        settled = {item.task.external_id: item.entities for item in gold.gold_of(session, 1)}
        times = session.scalars(select(tables.Annotation.lead_time)).all()
        assert gold.count_corrections(session, 1) == dict(report.corrections)
    assert sorted(settled) == ["t0000", "t0001", "t0002", "t0003"]
    assert settled["t0003"] == ()
    assert times[0] == 12.5


def test_updates_and_deletions_are_followed(store, studio_settings, api, connected):
    push(store, studio_settings, PushOptions(limit=3))
    first, second, third = listed(api, connected)
    result = first.predictions[0].result
    annotation = api.annotations.create(first.id, result=result)
    dropped = api.annotations.create(second.id, result=[])
    api.annotations.create(third.id, result=[])
    assert sync(store, studio_settings).added == 3

    api.annotations.update(annotation.id, result=result[:1])
    api.annotations.delete(dropped.id)
    api.tasks.delete(str(third.id))
    report = sync(store, studio_settings)
    assert (report.added, report.updated, report.deleted, report.deleted_tasks) == (0, 1, 2, 1)
    with store.read() as session:
        (settled,) = gold.gold_of(session, 1)
    assert [entity.label for entity in settled.entities] == ["PER"]
    # the second one waits again, the deleted task does not come back
    report = push(store, studio_settings, PushOptions(limit=1))
    assert (report.chosen, report.waiting) == (0, 1)
    again = sync(store, studio_settings)
    assert (again.updated, again.deleted, again.deleted_tasks) == (0, 0, 0)


def test_a_selection_over_a_line_break_is_taken_over(store, studio_settings, api, connected):
    push(store, studio_settings, PushOptions(limit=6))
    row = next(row for row in listed(api, connected) if "\n" in row.data["text"])
    text = row.data["text"]
    start, end = text.index("Wanjikũ"), text.index("Nairobi") + 7
    over = region(start, end, "ORG", text)
    over["value"]["text"] = text[start:end].replace("\n", "\\n")
    api.annotations.create(row.id, result=[over])
    report = sync(store, studio_settings)
    assert (report.added, report.rejected) == (1, [])


def test_a_broken_annotation_is_left_out_until_it_is_put_right(store, studio_settings, api, connected):
    push(store, studio_settings, PushOptions(limit=2))
    bad, fine = listed(api, connected)
    shifted = region(0, 6, "PER", bad.data["text"])
    shifted["value"]["text"] = "Nairobi"
    annotation = api.annotations.create(bad.id, result=[shifted])
    api.annotations.create(fine.id, result=[])
    report = sync(store, studio_settings)
    assert report.added == 1
    assert [item.annotation for item in report.rejected] == [annotation.id]
    assert len(sync(store, studio_settings).rejected) == 1
    api.annotations.update(annotation.id, result=[region(0, 6, "PER", bad.data["text"])])
    report = sync(store, studio_settings)
    assert (report.added, report.rejected) == (1, [])


def test_two_annotators_and_a_task_made_in_label_studio(store, studio_settings, api, connected, annotator):
    push(store, studio_settings, PushOptions(limit=1))
    (row,) = listed(api, connected)
    result = row.predictions[0].result
    second = annotator()
    api.annotations.create(row.id, result=result)
    second.annotations.create(row.id, result=result[:1])
    made = api.projects.import_tasks(
        connected, request=[{"data": {"text": "Mto Tana", "source_text": ""}}], return_task_ids=True
    )
    report = sync(store, studio_settings)
    assert (report.added, report.new_tasks) == (2, 1)
    with store.read() as session:
        assert gold.gold_of(session, 1) == []
        (conflict,) = gold.conflicts_of(session, 1)
        assert [len(version.entities) for version in conflict.versions] == [2, 1]
        added = session.scalars(select(tables.Task).where(tables.Task.studio_task == made.task_ids[0])).one()
        assert (added.external_id, added.text, added.source) == (f"studio-{made.task_ids[0]}", "Mto Tana", None)


def test_a_deleted_project_can_be_replaced(store, studio_settings, api, connected):
    push(store, studio_settings, PushOptions(limit=2))
    first, _ = listed(api, connected)
    api.annotations.create(first.id, result=[])
    sync(store, studio_settings)
    api.projects.delete(connected)
    for step in (lambda: push(store, studio_settings, PushOptions(limit=3)), lambda: sync(store, studio_settings)):
        with pytest.raises(StudioError, match="connect --new"):
            step()
    connection = connect(store, studio_settings, ConnectOptions(new=True))
    assert connection.created
    report = push(store, studio_settings, PushOptions(limit=1))
    assert (report.chosen, report.resumed, report.pushed) == (0, 1, 1)
    with store.read() as session:
        assert len(gold.gold_of(session, 1)) == 1
