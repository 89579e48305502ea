"""Real services for the tests: Kafka, a schema registry, Prometheus and JavaScript clients."""
