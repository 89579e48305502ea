"""What a topic's records are, and a configuration for them."""
