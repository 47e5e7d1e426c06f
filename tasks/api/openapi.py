"""The OpenAPI 3.1 document, and a page that shows it without any script or file of another server."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.responses import HTMLResponse, JSONResponse

from tasks.api.docs_page import page
from tasks.api.problems import ProblemDocument
from tasks.api.responses import errors
from tasks.job_spec import JobSpec
from worker.transcript.revisions import RevisionFile

_REF: Final = "#/components/schemas/{model}"
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"


def document_of(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the application."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, openapi_version="3.1.0"
    )
    _, models = models_json_schema(
        [(JobSpec, "validation"), (RevisionFile, "validation"), (ProblemDocument, "serialization")], ref_template=_REF
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= models["$defs"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                # A handler answers 428 if it is missing, and not 422 as FastAPI would.
                if parameter["name"] == "if-match":
                    parameter["required"] = True
                # A parameter that is not sent has no value; it is never null.
                kinds = [kind for kind in parameter["schema"].pop("anyOf", ()) if kind != {"type": "null"}]
                if len(kinds) == 1:
                    parameter["schema"] |= kinds[0]
                elif kinds:
                    parameter["schema"]["anyOf"] = kinds
            # FastAPI describes its own form of this error where an operation does not.
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                operation["responses"]["422"] = errors(422)[422]
    return document


def install(app: FastAPI) -> None:
    """Add the routes `/openapi.json` and `/docs`. They need no key: they contain nothing of this server."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document_of(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]

    @app.get("/openapi.json", include_in_schema=False)
    async def schema() -> JSONResponse:
        return JSONResponse(openapi())

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(openapi()), headers={"Content-Security-Policy": _POLICY})


__all__ = ["document_of", "install"]
