"""A Faust transport on confluent-kafka: one Faust event per partition and poll."""
