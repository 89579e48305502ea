"""driftbus: a streaming drift detector over Kafka whose verdicts are a function of the log."""

__version__ = "0.1.0"
