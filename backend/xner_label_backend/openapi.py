"""What /openapi.json says beyond what the routes' signatures say: bodies that are read in a thread, refusals."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_DETAIL: dict[str, Any] = {
    "type": "object",
    "properties": {"detail": {"type": "string"}},
    "required": ["detail"],
}
_PROBLEMS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "detail": {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"loc": {"type": "array", "items": {}}, "msg": {"type": "string"}},
                        "required": ["loc", "msg"],
                    },
                },
            ]
        }
    },
    "required": ["detail"],
}


def _refusal(meaning: str, schema: dict[str, Any] = _DETAIL) -> dict[str, Any]:
    return {"description": meaning, "content": {"application/json": {"schema": schema}}}


# By status; for every route, and for those that read a body.
REFUSALS: dict[int | str, dict[str, Any]] = {
    401: _refusal("Credentials are missing or wrong"),
    503: _refusal("Not ready, or the store can't be used: ask again"),
}
BODY_REFUSALS: dict[int | str, dict[str, Any]] = REFUSALS | {
    400: _refusal("The body can't be read"),
    413: _refusal("The body is too large"),
    422: _refusal("The body isn't what is expected", _PROBLEMS),
}


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """A request body, which the route reads itself, as FastAPI's ``openapi_extra``."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    inlined = _inlined(schema, definitions)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": inlined}}}}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if reference := schema.get("$ref"):
        return _inlined(definitions[reference.rpartition("/")[2]], definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items()}
