"""The process: what holds the machines, talks to Kafka, and can be seen from outside."""
