"""Avro bytes to columns: a writer schema compiled to a program, and the machine that runs it over a batch."""
