"""Telling a schema registry which schema a topic is written with."""

from __future__ import annotations

from typing import Any

import httpx

from driftbus.schemas.errors import ConfigError

_TIMEOUT_S = 5.0
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


def register(url: str, subject: str, schema: str, *, auth: tuple[str, str] | None = None, verify: Any = True) -> int:
    """The id of a schema under a subject, registered there if it is not yet.

    Where registering is forbidden, a schema that is there already is looked up instead.

    Args:
        url: of a Confluent-compatible registry; user and password may stand in it.
        subject: ``TOPIC-value`` by the usual strategy.
        schema: JSON text.
        auth: user and password.
        verify: as of httpx: True, or an SSL context.

    Raises:
        ConnectionError: the registry can't be reached or is in trouble; try again later.
        ConfigError: it refuses the schema.

    Source: Confluent Schema Registry API, POST /subjects/(subject)/versions and POST /subjects/(subject).
    """
    body = {"schemaType": "AVRO", "schema": schema}
    path = f"{url.rstrip('/')}/subjects/{subject}"
    headers = {"Content-Type": _MEDIA_TYPE, "Accept": _MEDIA_TYPE}
    try:
        with httpx.Client(timeout=_TIMEOUT_S, auth=auth, verify=verify, headers=headers) as client:
            answer = client.post(f"{path}/versions", json=body)
            if answer.status_code in {401, 403, 405}:
                answer = client.post(path, json=body)
    except (httpx.HTTPError, OSError) as e:
        raise ConnectionError(f"the schema registry does not answer: {type(e).__name__} {e}") from e
    if answer.status_code in _LATER:
        raise ConnectionError(f"the schema registry answers {answer.status_code}")
    if answer.status_code != httpx.codes.OK:
        raise ConfigError(
            f"the schema registry refuses the schema of subject {subject}: {answer.status_code} {answer.text[:500]}"
        )
    return int(answer.json()["id"])
