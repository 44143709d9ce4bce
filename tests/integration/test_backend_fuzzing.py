"""Generated requests to every route of a running backend, and generated labelling configurations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import checks

from tests.backend_process import Served, asked
from tests.backend_process import predicted as predicted
from tests.soak import rounds
from xner_label.entities import Task

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
QUIET = tuple(HealthCheck)
ATOMS = ["View", "Text", "Labels", "Label", "HyperText", "Choices", "Style", "Header"]
ATTRIBUTES = ["name", "toName", "value", "background", "hotkey", "alias"]
VALUES = st.one_of(
    st.sampled_from(["text", "label", "$text", "$", "", "PER", "LOC", "$source_text", "a&amp;b"]),
    st.text(max_size=8),
)


@st.composite
def configurations(draw: st.DrawFn, depth: int = 3) -> str:
    """Something like a labelling configuration; often not even XML."""
    name = draw(st.sampled_from(ATOMS))
    attributes = "".join(
        f' {key}="{draw(VALUES)}"' for key in draw(st.lists(st.sampled_from(ATTRIBUTES), max_size=4))
    )
    inside = draw(st.lists(configurations(depth - 1), max_size=3)) if depth else []
    end = draw(st.sampled_from([f"</{name}>", f"</{name}>", f"</{name}>", "", "</"]))
    before = draw(st.sampled_from(["", "", "", '<!DOCTYPE a [<!ENTITY b "c">]>', '<?xml version="1.0"?>', "&b;"]))
    return f"{before}<{name}{attributes}>{''.join(inside)}{end}"


@pytest.mark.soak
def test_every_answer_is_one_that_is_declared(served: Callable[..., Any], predicted: list[Task]) -> None:
    with served() as backend:
        schema = schemathesis.openapi.from_url(f"{backend.url}/openapi.json")
        asked_for: set[str] = set()
        statuses: Counter[int] = Counter()
        for operation in schema.get_all_operations():
            # without a body there is hardly anything to vary
            examples = rounds(70 if operation.ok().body else 4)

            @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=QUIET)
            @given(case=operation.ok().as_strategy())
            def ask(case: schemathesis.Case) -> None:
                answer = case.call(base_url=backend.url)
                asked_for.add(f"{case.method} {case.path} {case.query} {case.body!r}")
                statuses[answer.status_code] += 1
                case.validate_response(answer, checks=CHECKS)

            ask()
        print(f"\n{len(asked_for)} different requests, {dict(statuses)}")
        assert "Traceback" not in backend.log
        assert '"exception"' not in backend.log


@pytest.mark.soak
def test_any_labelling_configuration_is_answered(served: Callable[..., Any], predicted: list[Task]) -> None:
    with served() as backend:

        @settings(max_examples=rounds(80), deadline=None, database=None, suppress_health_check=QUIET)
        @given(config=st.one_of(configurations(), st.text(max_size=40)))
        def ask(config: str) -> None:
            _ask(backend, config, predicted[0].text)

        ask()
        assert "Traceback" not in backend.log
        assert '"exception"' not in backend.log


def _ask(backend: Served, config: str, text: str) -> None:
    body = {"tasks": [asked(1, text)], "project": "7.1", "label_config": config, "params": {"context": None}}
    answer = backend.client.post("/predict", json=body)
    assert answer.status_code in (200, 422), answer.text
    if answer.status_code == 200:
        (result,) = answer.json()["results"]
        assert 0 <= result["score"] <= 1
