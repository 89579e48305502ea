"""Contracts: events, configuration, and the codecs between Avro bytes and columns."""
