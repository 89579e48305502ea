"""Which configuration suits a stream: drifts of known size are put into rows that have been."""
