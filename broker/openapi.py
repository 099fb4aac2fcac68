"""The OpenAPI document: what FastAPI finds in the routes, completed by what it can't know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from broker import edge


def document(app: FastAPI, plain: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document: what FastAPI finds in the routes, with the one form of errors that each path has and who calls it."""
    if app.openapi_schema is None:
        document = plain()
        document["components"]["securitySchemes"]["client"] = {
            "type": "http", "scheme": "bearer", "bearerFormat": "at+jwt", "description": "Access token from POST /oauth2/token.",
        }  # fmt: skip
        for path, operations in document["paths"].items():
            for operation in operations.values():
                _describe(path, operation)
        for unused in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(unused, None)
    return app.openapi_schema or {}


def _describe(path: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "application/json" in responses.get("422", {}).get("content", {}):  # FastAPI's form of errors, which is never sent.
        del responses["422"]
    fhir = path.startswith("/fhir/") and ".well-known" not in path
    errors = edge.FHIR_JSON if path.startswith("/fhir/") else edge.JSON if path.startswith("/oauth2/") else edge.PROBLEM_JSON
    responses["default"] = {"description": "An error.", "content": {errors: {"schema": {"type": "object"}}}}
    if fhir or path == "/releases":
        for status in responses.keys() & {"200", "201"}:
            responses[status]["content"] = {edge.FHIR_JSON: {"schema": {"type": "object"}}}
    if path.startswith("/releases") or (fhir and "consent" not in operation.get("tags", ()) and path != "/fhir/metadata"):
        operation["security"] = [{"client": []}]
