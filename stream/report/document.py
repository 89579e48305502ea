"""The shell of every page: one file that loads nothing and runs nothing but its own few lines."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from functools import cache
from importlib.resources import files

from driftbus.stream.report.markup import Child, Html, el, join


def document(title: str, *content: Child) -> str:
    """A page of its own, for a file: style and script are inside, and no resource is ever fetched.

    Args:
        title: of the window.
        content: of the body.
    """
    script = _read("page.js")
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="generator", content="driftbus"),
        el("title", title),
        el("style", Html(_read("page.css"))),
    )
    body = el(
        "body", el("a", "to the columns", href="#columns", class_="skip"), join(content), el("script", Html(script))
    )
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


@cache
def _read(name: str) -> str:
    return files("driftbus.stream.report").joinpath(name).read_text(encoding="utf-8")
