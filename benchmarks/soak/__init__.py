"""A month of event time in an hour: whether anything in a worker grows that should not."""
