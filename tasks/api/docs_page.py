"""Renders an OpenAPI document as one HTML page, which needs no script. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any, Final

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid color-mix(in srgb, currentColor 25%, transparent); }
section { border-top: 1px solid color-mix(in srgb, currentColor 25%, transparent); margin-top: 2rem; }
td, th { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; }
"""


def page(document: dict[str, Any]) -> str:
    """Return the page of an OpenAPI document: all operations, and the schemas that they refer to."""
    return "\n".join(_lines(document))


def _lines(document: dict[str, Any]) -> Iterator[str]:
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}")
    yield f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
    yield f"<h1>{title}</h1><p>{escape(info.get('description', ''))} The same as JSON:"
    yield '<a href="/openapi.json">openapi.json</a>.</p><ul>'
    operations = [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in _METHODS
    ]
    for path, method, operation in operations:
        yield f'<li><a href="#{operation["operationId"]}"><code>{method.upper()} {escape(path)}</code></a></li>'
    yield "</ul>"
    for path, method, operation in operations:
        yield from _operation(path, method, operation)
    yield "<h2>Schemas</h2>"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3><pre>{_json(schema)}</pre></section>'
    yield "</body></html>"


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f'<section id="{operation["operationId"]}"><h3><code>{method.upper()} {escape(path)}</code></h3>'
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    if parameters := operation.get("parameters"):
        yield "<table><tr><th>parameter</th><th>in</th><th>meaning</th></tr>"
        for one in parameters:
            meaning = escape(one.get("description", ""))
            yield f"<tr><td><code>{escape(one['name'])}</code></td><td>{one['in']}</td><td>{meaning}</td></tr>"
        yield "</table>"
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body: <code>{escape(kind)}</code></p><pre>{_json(content)}</pre>"
    yield "<table><tr><th>status</th><th>meaning</th><th>content</th></tr>"
    for status, response in operation["responses"].items():
        kinds = ", ".join(f"{escape(kind)} {_link(one)}" for kind, one in response.get("content", {}).items())
        yield f"<tr><td>{status}</td><td>{escape(response['description'])}</td><td>{kinds}</td></tr>"
    yield "</table></section>"


def _link(content: dict[str, Any]) -> str:
    reference = content.get("schema", {}).get("$ref", "")
    name = escape(reference.rpartition("/")[2])
    return f'<a href="#schema-{name}">{name}</a>' if name else ""


def _json(value: Any) -> str:
    return escape(json.dumps(value, indent=2, ensure_ascii=False))


__all__ = ["page"]
