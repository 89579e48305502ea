"""How well drift is found: simulated and real streams, and what detectors say of them."""
