"""A topic of a monitor, and how the fields of its records are read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from driftbus.schemas.configtypes import Model
from driftbus.schemas.partitioning import Partitioner


class StreamConfig(Model):
    """One topic of a monitor and how its fields are read. Everything that is not mapped is a feature."""

    topic: str
    schema_file: str | None = Field(default=None, description=".avsc of records that carry no schema id")
    time: str = Field(default="", description="field of the event time; empty: the record's Kafka timestamp")
    time_unit: Literal["s", "ms", "us", "ns"] = Field(
        default="ms", description="of a plain number; a logical type overrides it"
    )
    id: str = Field(default="", description="field that identifies the prediction")
    score: str = Field(default="", description="field of the model's score (a number)")
    prediction: str = Field(default="", description="field of the predicted class or value")
    label: str = Field(default="", description="field of the outcome")
    prediction_time: str = Field(
        default="",
        description="of labels that carry what was predicted: field of when, a timestamp or a number of milliseconds",
    )
    version: str = Field(default="", description="field of the model's version")
    where: dict[str, str] = Field(default_factory=dict, description="only records whose fields equal these texts")
    rename: dict[str, str] = Field(default_factory=dict, description="field path: column name in the profile")
    categorical: list[str] = Field(default_factory=list, description="numbers to be treated as categories")
    text: list[str] = Field(
        default_factory=list, description="fields of free text: watched by length, words, kinds of characters"
    )
    ignore: list[str] = Field(default_factory=list, description="fields to leave out")


class LabelsConfig(StreamConfig):
    """The topic of outcomes. To be joined it must have the predictions' partitions, by the prediction's id."""

    repartition: str = Field(
        default="", description="topic of labels that are keyed otherwise: workers write them to `topic`, keyed by id"
    )
    partitioner: Partitioner = Field(
        default="murmur2",
        description="how the predictions' producer spreads ids: murmur2 (Java), crc32 (librdkafka's default), fnv1a",
    )

    @model_validator(mode="after")
    def _keyed_by_something(self) -> LabelsConfig:
        if self.repartition and not self.id:
            raise ValueError("repartition needs id: the field of the prediction's id, by which labels are keyed")
        if self.repartition == self.topic:
            raise ValueError(f"repartition: {self.topic} can't be written to itself; name another topic")
        return self
