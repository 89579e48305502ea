"""Other projects' detectors, each run in an environment of its own: `run_NAME.py` reads jobs and writes answers."""
