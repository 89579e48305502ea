"""HTML as values: text and attributes are escaped where they enter, so a name from the data is never markup."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_VOID = frozenset({"br", "hr", "input", "meta"})

SHORT, LONG = 48, 400
"""Characters of a name that are shown, and that are given on hovering: names from data have no bound."""


class Html(str):
    """Markup that is ready; any other text is escaped."""

    __slots__ = ()


Child = str | Html | None | Iterable["Child"]
Attribute = str | int | float | bool | None


def clean(text: str) -> str:
    """Text without characters that HTML has no place for."""
    return _UNPRINTABLE.sub("\ufffd", text)


def el(tag: str, *children: Child, **attributes: Attribute) -> Html:
    """An element.

    Args:
        tag: its name.
        children: text (escaped), markup, None (nothing) or several of these.
        attributes: values are escaped; ``class_`` is class, ``aria_label`` aria-label; None and False
            leave one out, True writes it without a value.
    """
    opening = f"<{tag}{''.join(_attribute(name, value) for name, value in attributes.items())}>"
    return Html(opening if tag in _VOID else f"{opening}{join(children)}</{tag}>")


def join(children: Iterable[Child]) -> Html:
    """Children one after the other."""
    return Html("".join(_parts(children)))


def cut(text: str, most: int = SHORT) -> str:
    """At most so many characters, the last one an ellipsis where some are left out."""
    return text if len(text) <= most else text[: most - 1] + "…"


def name(text: str, most: int = SHORT) -> Html:
    """A name from the data: isolated from the direction of the text around it, the long form on hovering."""
    title = cut(text, LONG) if len(text) > most else None
    return el("bdi", cut(text, most), class_="name", title=title)


def _parts(children: Iterable[Child]) -> Iterable[str]:
    for child in children:
        if isinstance(child, Html):
            yield child
        elif isinstance(child, str):
            yield escape(clean(child), quote=False)
        elif child is not None:
            yield from _parts(child)


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(clean(str(value)))}"'
