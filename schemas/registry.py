"""Client of any schema registry that speaks Confluent's protocol."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from driftbus.schemas.avsc import WriterSchema, parse_schema
from driftbus.schemas.config import RegistryConfig
from driftbus.schemas.errors import ConfigError, DecodeError, Unavailable
from driftbus.schemas.framing import BY_FINGERPRINT, BY_GUID, BY_ID, SchemaKey
from driftbus.schemas.registrylogin import Login
from driftbus.schemas.tls import client_context, tls_trouble

MAX_SCHEMAS = 1_000
"""Schemas kept in memory, and as many ids known not to exist; the least recently used goes first."""
UNKNOWN_FOR_S = 60.0
"""How long an id that the registry did not have is not asked for again."""
MAX_REFERENCES = 100
"""Schemas that one schema may pull in by references."""

LARGEST_ANSWER = 32 << 20
"""Bytes of an answer that are read; what is longer is no schema."""

_ACCEPT = "application/vnd.schemaregistry.v1+json, application/json"
_FIRST_PAUSE_S = 0.1
_NOT_FOUND = range(40400, 40500)
_LARGEST_ID = 2**31 - 1
"""Registries hold ids as signed 32-bit integers, and refuse larger ones as if their path did not exist."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Named types of another subject that a schema uses.

    Args:
        name: full name of the type.
        subject, version: where the registry has it.
    """

    name: str
    subject: str
    version: int


@dataclass(frozen=True, slots=True)
class Registered:
    """A version of a subject."""

    subject: str
    version: int
    id: int
    schema: WriterSchema


class Registry:
    """Schemas by id or GUID, subjects, compatibility. Safe to use from several threads.

    Calls block, at most for the configured timeout in all: transient failures are tried again
    within it. Credentials never appear in errors.

    Args:
        config: address, credentials, CA, timeout.
        monotonic, sleep: the clock.
        transport: how requests travel, None for the network.

    Raises:
        ConfigError: the address or the CA can't be used.
    """

    def __init__(
        self,
        config: RegistryConfig,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._monotonic, self._sleep = monotonic, sleep
        self._timeout_s = config.timeout / 1000
        self._schemas: OrderedDict[SchemaKey, WriterSchema] = OrderedDict()
        self._unknown: OrderedDict[SchemaKey, tuple[float, str]] = OrderedDict()
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._trouble = ""
        url = _address(config)
        self.url = str(url)
        """The registry's address, without credentials."""
        self.date = ""
        """What its clock said with the last answer, as HTTP writes it."""
        self._host, self._certificate = url.host, config.certificate is not None
        login = Login(config)
        self._login = login.key, login.fix
        self._http = httpx.Client(
            auth=login,
            verify=client_context(
                config.ca, config.certificate, config.key, config.secret("key_password"), section="registry"
            ),
            headers={"Accept": _ACCEPT},
            limits=httpx.Limits(max_connections=4),
            transport=transport,
        )

    @property
    def bare(self) -> None:
        """Records without a schema id are not accepted."""
        return

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def knows(self, key: SchemaKey) -> bool:
        """Whether `resolve` would answer from memory, be it a schema or that there is none."""
        with self._lock:
            return key in self._schemas or self._known_missing(key) is not None

    def resolve(self, key: SchemaKey) -> WriterSchema:
        """The schema of an id or a GUID, with everything it refers to.

        Raises:
            DecodeError: ``unknown_schema`` when the registry definitely has none, ``bad_schema``
                when it is not Avro or can't be read.
            Unavailable: the registry can't be reached, is overloaded or failing.
            ConfigError: it refuses our credentials, or is no schema registry.
        """
        with self._lock:
            if key in self._schemas:
                self._schemas.move_to_end(key)
                return self._schemas[key]
            missing = self._known_missing(key)
        if missing is not None:
            raise DecodeError("unknown_schema", missing)
        if key.kind not in (BY_ID, BY_GUID):
            kind = "a fingerprint" if key.kind == BY_FINGERPRINT else "no schema id"
            raise DecodeError("unknown_schema", f"the record has {kind}, which the registry can't look up")
        if key.kind == BY_ID and key.low > _LARGEST_ID:
            raise DecodeError("unknown_schema", f"no registry has so large an id as {key}")
        try:
            schema = self._fetched(key)
        except _NotFound as error:
            message = f"the registry has no {key}: {error}"
            with self._lock:
                self._unknown[key] = (self._monotonic() + UNKNOWN_FOR_S, message)
                _shrink(self._unknown)
            raise DecodeError("unknown_schema", message) from None
        with self._lock:
            self._schemas[key] = schema
            _shrink(self._schemas)
        return schema

    def _fetched(self, key: SchemaKey) -> WriterSchema:
        """From the registry; while it is in trouble one caller at a time asks, so that not all of them hang."""
        if not self._trouble:
            return self._watched(key)
        if not self._asking.acquire(blocking=False):
            raise Unavailable(self._trouble)
        try:
            return self._watched(key)
        finally:
            self._asking.release()

    def _watched(self, key: SchemaKey) -> WriterSchema:
        try:
            schema = self._schema(self._lookup(key), str(key))
        except (Unavailable, ConfigError) as error:
            self._trouble = str(error)
            raise
        except (_NotFound, DecodeError):
            self._trouble = ""
            raise
        self._trouble = ""
        return schema

    def subjects(self) -> list[str]:
        """All subjects. Also the way to find out whether the registry answers at all."""
        try:
            answer = self._get("/subjects")
        except _NotFound as error:
            raise self._no_registry(f"it has no list of subjects: {error}") from None
        if not isinstance(answer, list):
            raise self._no_registry("its list of subjects is not a list")
        return [str(subject) for subject in answer]

    def latest(self, subject: str) -> Registered | None:
        """The newest version of a subject, None if there is no such subject."""
        try:
            answer = self._get(f"/subjects/{_quoted(subject)}/versions/latest")
        except _NotFound:
            return None
        return Registered(subject, self._int(answer, "version"), self._int(answer, "id"), self._schema(answer, subject))

    def register(self, subject: str, schema: str, references: Iterable[Reference] = ()) -> int:
        """Register a schema under a subject; returns its id, the same one when it is there already.

        Raises:
            ConfigError: the registry refuses it: incompatible with an earlier version, or invalid.
        """
        references = list(references)
        try:
            return self._registered(subject, schema, references)
        except _Conflict:
            # Apicurio says so too when several workers start at once and another one was faster by a moment
            if (known := self.lookup(subject, schema, references)) is not None:
                return known
        return self._registered(subject, schema, references)

    def _registered(self, subject: str, schema: str, references: Iterable[Reference]) -> int:
        try:
            answer = self._post(f"/subjects/{_quoted(subject)}/versions", _body(schema, references))
        except _NotFound as error:
            raise ConfigError(f"the registry at {self.url} refuses the schema: {error}") from None
        return self._int(answer, "id")

    def lookup(self, subject: str, schema: str, references: Iterable[Reference] = ()) -> int | None:
        """Id of a schema under a subject, None if it is not registered there."""
        try:
            return self._int(self._post(f"/subjects/{_quoted(subject)}", _body(schema, references)), "id")
        except _NotFound:
            return None

    def incompatibilities(self, subject: str, schema: str, references: Iterable[Reference] = ()) -> list[str]:
        """Why the registry would refuse a schema as the next version of a subject; empty if it would not."""
        path = f"/compatibility/subjects/{_quoted(subject)}/versions/latest?verbose=true"
        try:
            answer = self._post(path, _body(schema, references))
        except _NotFound:
            return []
        if self._field(answer, "is_compatible") is True:
            return []
        return [str(message) for message in answer.get("messages") or ["incompatible with the latest version"]]

    def _lookup(self, key: SchemaKey) -> Any:
        if key.kind == BY_ID:
            return self._get(f"/schemas/ids/{key.low}")
        try:
            return self._get(f"/schemas/guids/{key.guid}")
        except _NoSuchPath:
            self.subjects()  # raises when the address is wrong altogether
            raise _NotFound("it is too old to know GUIDs") from None

    def _known_missing(self, key: SchemaKey) -> str | None:
        until, message = self._unknown.get(key, (0.0, ""))
        return message if message and self._monotonic() < until else None

    def _schema(self, answer: Any, what: str) -> WriterSchema:
        kind = answer.get("schemaType", "AVRO") if isinstance(answer, dict) else None
        if kind != "AVRO":
            raise DecodeError("bad_schema", f"{what} is {kind}, not Avro")
        texts: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._gather(answer, texts, ())
        return parse_schema(str(self._field(answer, "schema")), list(texts.values()))

    def _gather(self, answer: Any, texts: dict[tuple[str, int], str], path: tuple[tuple[str, int], ...]) -> None:
        """Everything a schema refers to, dependencies first, each once."""
        for reference in answer.get("references") or ():
            place = str(self._field(reference, "subject")), self._int(reference, "version")
            if place in texts:
                continue
            if place in path or len(texts) + len(path) >= MAX_REFERENCES:
                raise DecodeError("bad_schema", f"the references of {place[0]} version {place[1]} go round or too far")
            try:
                found = self._get(f"/subjects/{_quoted(place[0])}/versions/{place[1]}")
            except _NotFound as error:
                raise DecodeError("bad_schema", f"refers to {place[0]} version {place[1]}: {error}") from None
            self._gather(found, texts, (*path, place))
            texts[place] = str(self._field(found, "schema"))

    def _get(self, path: str) -> Any:
        return self._ask("GET", path, None)

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        """One question, asked again with growing pauses while the failure is transient and time is left."""
        until, pause = self._monotonic() + self._timeout_s, _FIRST_PAUSE_S
        while True:
            left = max(until - self._monotonic(), 0.001)
            try:
                response = self._whole(method, path, body, until, left)
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise ConfigError(f"{self.url} is no address: {error}", key="registry.url") from None
            except httpx.HTTPError as error:
                if tls := tls_trouble(error, "registry", self._host, ours=self._certificate):
                    raise Unavailable(f"the registry at {self.url} can't be reached: {tls}") from None
                trouble = f"the registry at {self.url} can't be reached: {type(error).__name__}: {error}"
            else:
                if response.status_code not in (408, 425, 429) and response.status_code < 500:
                    return self._answer(response)
                trouble = f"the registry at {self.url} answers {response.status_code}{_said(response)}"
            if self._monotonic() + pause >= until:
                raise Unavailable(trouble)
            self._sleep(pause)
            pause *= 2

    def _whole(self, method: str, path: str, body: dict[str, Any] | None, until: float, left: float) -> httpx.Response:
        """One answer, read to its end: httpx's own timeout is for each of its pieces."""
        content = bytearray()
        with self._http.stream(method, self.url + path, json=body, timeout=left) as response:
            self.date = response.headers.get("Date", "")
            for piece in response.iter_bytes():
                content += piece
                if len(content) > LARGEST_ANSWER:
                    raise self._no_registry("its answer does not end")
                if self._monotonic() > until:
                    raise httpx.ReadTimeout("its answer takes too long")
        return httpx.Response(response.status_code, content=bytes(content))

    def _answer(self, response: httpx.Response) -> Any:
        status = response.status_code
        if response.is_success:
            try:
                return response.json()
            except ValueError:
                raise self._no_registry("its answer is not JSON") from None
        if status in (401, 403):
            key, fix = self._login
            raise ConfigError(f"the registry at {self.url} refuses the credentials ({status})", key=key, fix=fix)
        code = _error_code(response)
        if status == 404 and code in _NOT_FOUND:
            raise _NotFound(_said(response).removeprefix(": ") or "not found")
        if status in (409, 422):
            kind = _Conflict if status == 409 else ConfigError
            raise kind(f"the registry at {self.url} refuses the schema{_said(response)}")
        kind = _NoSuchPath if status == 404 else ConfigError
        raise self._no_registry(f"it answers {status}{_said(response)}", kind)

    def _no_registry(self, why: str, kind: type[ConfigError] = ConfigError) -> ConfigError:
        return kind(
            f"{self.url} does not answer like a schema registry: {why}",
            key="registry.url",
            fix="Write the address up to and without /subjects",
        )

    def _field(self, answer: Any, name: str) -> Any:
        if not isinstance(answer, dict) or name not in answer:
            raise self._no_registry(f"its answer has no {name!r}")
        return answer[name]

    def _int(self, answer: Any, name: str) -> int:
        value = self._field(answer, name)
        if not isinstance(value, int):
            raise self._no_registry(f"{name!r} in its answer is not a number")
        return value


class _NotFound(Exception):
    """The registry definitely does not have it."""


class _Conflict(ConfigError):
    """What the registry has does not go with it."""


class _NoSuchPath(ConfigError):
    """The address answers, but serves nothing there."""


def _address(config: RegistryConfig) -> httpx.URL:
    if not config.url:
        raise ConfigError("no address of a registry", key="registry.url")
    try:
        url = httpx.URL(config.url.rstrip("/"))
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError("not an address", key="registry.url", fix="Write it like http://registry:8081")
    return url.copy_with(userinfo=b"")


def _body(schema: str, references: Iterable[Reference]) -> dict[str, Any]:
    listed = [{"name": r.name, "subject": r.subject, "version": r.version} for r in references]
    return {"schema": schema, "references": listed} if listed else {"schema": schema}


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _shrink(cache: OrderedDict[SchemaKey, Any]) -> None:
    while len(cache) > MAX_SCHEMAS:
        cache.popitem(last=False)


def _error_code(response: httpx.Response) -> int:
    try:
        body = response.json()
    except ValueError:
        return 0
    code = body.get("error_code") if isinstance(body, dict) else None
    return code if isinstance(code, int) else 0


def _said(response: httpx.Response) -> str:
    """The registry's own words, if it has any and they are short enough to show."""
    try:
        body = response.json()
    except ValueError:
        return ""
    message = body.get("message") if isinstance(body, dict) else None
    return f": {message[:300]}" if isinstance(message, str) and message else ""
