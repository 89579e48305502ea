"""The machines `summarise` and `judge`, and the shell that feeds them from Kafka or a file."""
