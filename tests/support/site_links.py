"""A hook of MkDocs: links each setting, option and metric in the text of a page to its place in the reference.

The pages stay plain Markdown, and no page can miss a link.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import click
from prometheus_client.metrics import MetricWrapperBase

from tasks.cli import main
from worker import metrics
from worker.settings import SECRET_SETTINGS, Settings

_CODE: Final = re.compile(
    r"(?P<other><a\b.*?</a>|<pre\b.*?</pre>|<h\d\b.*?</h\d>)|<code>(?P<name>(?:STT_|stt_|--)[\w-]+)(?P<rest>[^<]*)</code>",
    re.DOTALL,
)
_ROW: Final = re.compile(r"<tr>\s*<td><code>((?:STT|stt)_\w+)</code>")
_TABLES: Final = ("reference/settings.md", "reference/metrics.md")


@cache
def targets() -> dict[str, str]:
    """Name of a setting, metric or option -> its place in the site; an option belongs to the first command with it."""
    found = {f"STT_{name.upper()}": f"reference/settings.html#STT_{name.upper()}" for name in Settings.model_fields}
    for name in SECRET_SETTINGS:
        found[f"STT_{name.upper()}_FILE"] = found[f"STT_{name.upper()}"]
    for value in vars(metrics).values():
        if isinstance(value, MetricWrapperBase):
            (family,) = value.describe()
            name = f"{family.name}{'_total' if family.type == 'counter' else ''}"
            found[name] = f"reference/metrics.html#{name}"
    assert isinstance(main, click.Group)
    for command_name in main.list_commands(click.Context(main)):
        command = main.get_command(click.Context(main), command_name)
        for parameter in command.params if command else ():
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith("--"):
                    found.setdefault(option, f"reference/cli.html#stt-batch-{command_name}")
    return found


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Called by MkDocs with the HTML of each page."""
    if page.file.src_uri in _TABLES:
        html = _ROW.sub(r'<tr>\n<td id="\1"><code>\1</code>', html)
    if page.file.src_uri.startswith("reference/") and page.file.src_uri != "reference/errors.md":
        return html
    up = "../" * page.file.src_uri.count("/")

    def link(found: re.Match[str]) -> str:
        target = None if found["other"] else targets().get(found["name"])
        return f'<a href="{up}{target}">{found[0]}</a>' if target else found[0]

    return _CODE.sub(link, html)


def place(address: str) -> tuple[str, str]:
    """The page and the anchor of one of `targets`."""
    parts = urlsplit(address)
    return parts.path, parts.fragment
