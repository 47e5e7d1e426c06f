"""Parts of self-contained HTML pages: their scripts and styles, hashes for their content security policy, and JSON data
blocks."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any, Final

# In a data block, `<` could end the element or begin a comment. U+2028 and U+2029 end a line in older JavaScript.
_ESCAPES: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


@cache
def asset(package: str, *names: str) -> str:
    """Return the text of files in the package `package`, one after the other."""
    folder = files(package)
    return "".join((folder / name).read_text(encoding="utf-8") for name in names)


@cache
def script(package: str, *names: str) -> str:
    """Return JavaScript files as one script with a scope of its own."""
    return f'"use strict";\n(() => {{\n{asset(package, *names)}}})();\n'


def digest(text: str) -> str:
    """Return the hash of an inline script or style in the notation of content security policies."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def policy(script_text: str, style_text: str, *others: str) -> str:
    """Return a content security policy that allows one inline script, one inline style, and `others`, for example
    `media-src 'self'`."""
    own = f"default-src 'none'; script-src '{digest(script_text)}'; style-src '{digest(style_text)}'"
    return "; ".join([own, *others, "base-uri 'none'", "form-action 'none'"])


def json_block(value: Any, **attributes: str) -> str:
    """Return an element with JSON data, which a browser does not run. The text of `value` may be untrusted.

    `attributes`: further attributes of the element, with trusted values."""
    marks = "".join(f' {name}="{text}"' for name, text in attributes.items())
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)
    return f'<script type="application/json"{marks}>{text}</script>'
