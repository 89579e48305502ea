"""``driftbus topics``: driftbus's own topics, what is wrong with them, and making them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from driftbus.stream.cli._options import config_option, configured
from driftbus.stream.worker.topicchecks import survey_topics
from driftbus.stream.worker.topics import admin_client, create_topics, required_topics


@click.command(short_help="Show and create driftbus's own topics.")
@config_option
@click.option("--create", is_flag=True, help="Create those that are missing, with the right settings.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line a topic.")
def command(config_path: Path, create: bool, as_json: bool) -> int | None:
    """Show driftbus's own topics, with what is wrong with them and with the topics that are read.

    Nothing is changed without --create, and existing topics are never changed.
    Exit code 0 when everything is in order, 1 when not.
    """
    config = configured(config_path)
    admin = admin_client(config.kafka)
    made = set(create_topics(admin, config)) if create else set()
    seen = survey_topics(admin, config)
    counts, problems = seen.counts, [problem for problem in seen.problems if problem.gravity == "stops"]
    wrong = {problem.topic: problem for problem in problems}
    for topic in required_topics(config):
        problem = wrong.get(topic.name)
        if as_json:
            state = "created" if topic.name in made else "wrong" if problem else "fine"
            values = {"topic": topic.name, "role": topic.role, "state": state, "settings": dict(topic.settings)}
            click.echo(json.dumps(values | {"partitions": counts.get(topic.name, 0)}))
            continue
        sign = click.style("✗", fg="red") if problem else click.style("✓", fg="green")
        state = problem.message if problem else f"{counts.get(topic.name, topic.partitions)} partitions"
        click.echo(f"{sign} {topic.name:<24} {state}{', created' if topic.name in made else ''}")
        settings = " ".join(f"{key}={value}" for key, value in topic.settings.items())
        click.echo(f"    {settings or 'no settings of its own'}")
    for problem in sorted(seen.problems, key=lambda p: p.gravity != "stops"):
        sign = "" if problem.gravity == "stops" else click.style("advice: ", fg="yellow")
        click.echo(f"{sign}{problem.topic} {problem.message}: {problem.fix}", err=True)
    return 1 if problems else None
