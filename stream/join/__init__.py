"""Labels find what was predicted: a function of two logs, whatever crashes, moves or is lost in between."""
