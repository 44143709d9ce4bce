"""Gold that is decided: whose annotation counts, and what people disagree about."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest

from tests.integration.test_studio_faults import shell
from tests.integration.test_studio_loop import listed, region
from xner_label.errors import UsageError
from xner_label.exchange.exporting import export
from xner_label.review.conflicts import decide, decided, disputed
from xner_label.store import gold, showing
from xner_label.studio.connect import ConnectOptions, connect
from xner_label.studio.labelling import LOOK_HTML, QUEUE
from xner_label.studio.push import PushOptions, push
from xner_label.studio.sync import sync
from xner_label.studio.views import CONFLICTS_TITLE

pytestmark = pytest.mark.studio


@pytest.fixture
def row(store, studio_settings, api, examples):
    """A task in Label Studio; its prediction has a person and a place."""
    examples(store, range(1))
    project = connect(store, studio_settings, ConnectOptions()).studio_project
    push(store, studio_settings, PushOptions(limit=1))
    (row,) = listed(api, project)
    return row


def settled(store):
    with store.read() as session:
        return [[entity.label for entity in item.entities] for item in gold.gold_of(session, 1)]


def test_a_persons_newer_annotation_replaces_their_older_one(store, studio_settings, api, row):
    result = row.predictions[0].result
    first = api.annotations.create(row.id, result=result)
    api.annotations.create(row.id, result=result[:1])
    sync(store, studio_settings)
    assert settled(store) == [["PER"]]
    # what counts is what they did last, not which annotation they began first
    api.annotations.update(first.id, result=result)
    sync(store, studio_settings)
    assert settled(store) == [["PER", "LOC"]]
    assert disputed(store, "default") == []


def test_people_who_disagree_make_no_gold_until_somebody_decides(
    store, studio_settings, api, annotator, row, tmp_path, command_line
):
    text, result = row.data["text"], row.predictions[0].result
    second = annotator()
    relabelled = {**result[0], "value": {**result[0]["value"], "labels": ["ORG"]}}
    api.annotations.create(row.id, result=result)
    other = second.annotations.create(row.id, result=[relabelled, region(0, 6, "PER", text)])
    sync(store, studio_settings)
    assert settled(store) == []
    (task,) = disputed(store, "default")
    assert [(difference.kind, text[difference.start : difference.end]) for difference in task.differences] == [
        ("missing", "Waziri"),
        ("label", "Amina0 Wanjik\u0169"),
        ("missing", "Nairobi"),
    ]
    assert task.versions[0] == "reviewer@example.org"
    for kind in ({"gold": True, "silver": False}, {"gold": False, "silver": True}):
        assert export(store, "default", tmp_path / "out.jsonl", format="jsonl", **kind).tasks == 0

    command = [*command_line, "conflicts"]
    environment = shell(studio_settings)
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "label    1: Amina0 Wanjik\u0169 PER; 2: Amina0 Wanjik\u0169 ORG" in done.stdout
    with pytest.raises(UsageError, match="versions 1 to 2, not 3"):
        decide(store, "default", task.id, 3, "third")
    command += [task.id, "--take", "2", "--by", "third@example.org", "--reason", "guideline 4", "--json"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["entities"]) == 2
    assert settled(store) == [["PER", "ORG"]]
    assert disputed(store, "default") == []
    with store.read() as session:
        (decision,) = session.scalars(gold.select(gold.Decision))
        assert (decision.decided_by, decision.reason) == ("third@example.org", "guideline 4")

    # touched without a change it stays decided; changed it is a question again
    second.annotations.update(other.id, result=[relabelled, region(0, 6, "PER", text)])
    sync(store, studio_settings)
    assert settled(store) == [["PER", "ORG"]]
    second.annotations.update(other.id, result=[])
    sync(store, studio_settings)
    assert settled(store) == []
    (task,) = disputed(store, "default")
    assert task.versions[0] == "third@example.org"


def test_ground_truth_wins(store, studio_settings, api, annotator, row):
    result = row.predictions[0].result
    first = api.annotations.create(row.id, result=result, ground_truth=True)
    later = annotator().annotations.create(row.id, result=[])
    sync(store, studio_settings)
    assert settled(store) == [["PER", "LOC"]]
    # Label Studio takes the star off the other one without a word
    api.annotations.update(later.id, ground_truth=True)
    sync(store, studio_settings)
    assert settled(store) == [[]]
    api.annotations.update(later.id, ground_truth=False)
    api.annotations.update(first.id, ground_truth=False)
    sync(store, studio_settings)
    assert settled(store) == []
    assert len(disputed(store, "default")) == 1


def test_a_third_person_sees_both_versions_and_gives_one_the_star(store, studio_settings, api, annotator, row):
    result = row.predictions[0].result
    api.annotations.create(row.id, result=result)
    other = annotator().annotations.create(row.id, result=result[:1])
    assert sync(store, studio_settings).conflicts_shown == 1
    assert sync(store, studio_settings).conflicts_shown == 0
    shown = api.tasks.get(str(row.id)).data
    assert shown[QUEUE] == "conflict"
    assert "only one has it" in shown[LOOK_HTML]
    assert shown[LOOK_HTML].count("Nairobi</bdi></mark>") == 2, "in the first version, and as what differs"
    (view,) = [view for view in api.views.list(project=row.project) if view.data["title"] == CONFLICTS_TITLE]
    assert [task.id for task in api.tasks.list(project=row.project, view=view.id)] == [row.id]

    third = annotator()
    third.annotations.update(other.id, ground_truth=True)
    assert sync(store, studio_settings).conflicts_shown == 1
    assert settled(store) == [["PER"]]
    (decision,) = decided(store, "default")
    assert (decision.how, decision.at is not None) == ("star", True)
    assert decision.by == third.users.whoami().email
    after = api.tasks.get(str(row.id)).data
    assert after == row.data, "as before the dispute"

    # disputed again, and then deleted: nothing is left behind
    third.annotations.update(other.id, ground_truth=False)
    assert sync(store, studio_settings).conflicts_shown == 1
    api.tasks.delete(str(row.id))
    sync(store, studio_settings, allow_deletions=True)
    with store.read() as session:
        assert showing.shown_conflicts(session, 1) == {}


def test_three_people_outvote_one_where_the_settings_let_them(store, studio_settings, api, annotator, row):
    result = row.predictions[0].result
    settings = replace(studio_settings, disagreements="majority")
    api.annotations.create(row.id, result=result)
    annotator().annotations.create(row.id, result=result[:1])
    sync(store, settings)
    assert settled(store) == [], "of two neither is the majority"
    annotator().annotations.create(row.id, result=result[:1])
    sync(store, settings)
    assert settled(store) == [["PER"]]
    (decision,) = decided(store, "default")
    assert (decision.how, decision.by.count("@")) == ("majority", 3)
    sync(store, studio_settings)
    assert settled(store) == []
    assert len(disputed(store, "default")) == 1
    decide(store, "default", disputed(store, "default")[0].id, 1, "third")
    sync(store, settings)
    assert [decision.how for decision in decided(store, "default")] == ["command"]
    assert settled(store) == [["PER", "LOC"]]
