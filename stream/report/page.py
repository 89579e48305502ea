"""The page of a replay as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from driftbus.stream.report import charts
from driftbus.stream.report.document import document
from driftbus.stream.report.markup import Child, Html, el, join, name
from driftbus.stream.report.model import Facts, IncidentCard, Member, Page
from driftbus.stream.report.performance import performance_section
from driftbus.stream.report.rows import drifted_rows, stable_rows

_SHOWN_MEMBERS = 12


def render(page: Page) -> str:
    """The page as one HTML file; the same page gives the same bytes."""
    drifted = [row for row in page.rows if row.state != "stable"]
    stable = [row for row in page.rows if row.state == "stable"]
    top = max([charts.SEVERE * 1.6, *(v for row in page.rows for _, _, v in row.curve if v is not None)])
    spans = [incident.span for incident in page.incidents]
    return document(
        f"{page.headline} · {page.facts.source}",
        _head(page),
        el(
            "main",
            el("h2", "The whole replay"),
            el(
                "section",
                charts.timeline(page.ruler, page.volume, page.volume_top, spans, page.triggers),
                _triggers(page.triggers),
                class_="panel",
                aria_label="timeline",
            ),
            _incidents(page.incidents),
            *performance_section(page.performance, page.ruler),
            el("h2", "Columns", el("small", "worst first"), id="columns"),
            _tools(len(page.rows)),
            drifted_rows(drifted, page.ruler, top) if drifted else None,
            stable_rows(stable, page.ruler, top, folded=bool(drifted)) if stable else None,
            _left_out(page.facts),
            _next(page.facts),
            _settings(page.facts),
        ),
        el(
            "footer",
            f"driftbus {page.facts.version}".strip(),
            " · times are UTC · PSI is the population stability index",
        ),
    )


def _head(page: Page) -> Html:
    facts = [("source", page.facts.source), ("reference", page.facts.reference), *page.facts.summary]
    return el(
        "header",
        el("div", "driftbus replay", class_="brand"),
        el("h1", page.headline),
        el("dl", *(el("div", el("dt", key), el("dd", name(value, 120))) for key, value in facts), class_="facts"),
    )


def _triggers(triggers: Sequence[tuple[float, str]]) -> Html | None:
    if not triggers:
        return None
    more = f", and {len(triggers) - 1:,} more" if len(triggers) > 1 else ""
    return el(
        "p",
        el("span", "▲ ", class_="soft"),
        f"A retrain trigger would have fired at {triggers[0][1]}{more}.",
        class_="soft",
    )


def _incidents(incidents: Sequence[IncidentCard]) -> Child:
    if not incidents:
        return el("p", el("b", "✓ Stable"), el("span", "No column has left its reference."), class_="panel calm")
    return [
        el("h2", "Incidents", el("small", "drifts that go together, in order of time")),
        *(_incident(i, card) for i, card in enumerate(incidents, 1)),
    ]


def _incident(number: int, card: IncidentCard) -> Html:
    when = f"since {card.since}" + (f", over {card.until}" if card.until else ", still open")
    first, rest = card.members[:_SHOWN_MEMBERS], card.members[_SHOWN_MEMBERS:]
    axis = el("li", charts.axis(card.ruler), class_="ends", aria_hidden="true")
    return el(
        "article",
        el("header", el("h3", f"{number}. {card.title}"), el("span", when, class_="soft"), el("code", card.id)),
        el("p", card.lead) if card.lead else None,
        el("ul", *(el("li", hint) for hint in card.hints), class_="hints") if card.hints else None,
        el("ol", *map(_member, first), axis, class_="members"),
        el(
            "details",
            el("summary", f"{len(rest):,} more"),
            el("ol", *map(_member, rest), class_="members"),
            class_="fold",
        )
        if rest
        else None,
        class_=f"panel incident {card.severity}",
        id=f"incident-{number}",
    )


def _fold(summary: Child, *content: Child) -> Html:
    return el("details", el("summary", summary), *content, class_="fold")


def _member(member: Member) -> Html:
    label = name(member.column) if member.column else Html("all rows")
    return el(
        "li",
        el("span", el("a", label, href=f"#{member.key}") if member.key else label, where(member.where)),
        el("span", chip(member.severity)),
        el("span", member.what, el("span", member.size, class_="more")),
        charts.whisker(member.span, f"change point: {member.since}"),
    )


def chip(severity: str) -> Html:
    """A severity as a small label."""
    return el("span", severity, class_=f"chip {severity}")


def where(words: str) -> Html | None:
    """Which group, where there are several."""
    return join([" ", el("span", name(words), class_="where")]) if words else None


def _tools(rows: int) -> Html | None:
    if rows < 8:
        return None
    options = (("rank", "worst first"), ("since", "by change point"), ("name", "by name"))
    return el(
        "div",
        el("input", type="search", placeholder="find a column", aria_label="find a column"),
        el("select", *(el("option", words, value=key) for key, words in options), aria_label="order of the columns"),
        el("output", class_="soft"),
        class_="tools",
        hidden=True,
    )


def _left_out(facts: Facts) -> Child:
    if not facts.left_out and not facts.notes:
        return None
    rows = [el("tr", el("th", name(column), scope="row"), el("td", why)) for column, why in facts.left_out]
    return [
        el("h2", "Left out"),
        el(
            "section",
            el("table", *rows, class_="plain") if rows else None,
            *(el("p", note) for note in facts.notes),
            class_="panel",
        ),
    ]


def _next(facts: Facts) -> Child:
    if not facts.next:
        return None
    steps = [el("li", el("code", command), el("span", f" {why}", class_="soft")) for command, why in facts.next]
    return [el("h2", "What to do next"), el("ul", *steps, class_="panel next")]


def _settings(facts: Facts) -> Html | None:
    if not facts.settings:
        return None
    rows = [el("tr", el("th", key, scope="row"), el("td", value)) for key, value in facts.settings]
    title = ["Configuration ", el("small", "what a verdict depends on")]
    return _fold(title, el("div", el("table", *rows, class_="plain"), class_="panel"))
