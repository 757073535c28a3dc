"""The procedural world: drawn people who speak, before cameras that move, with the exact truth of all of it."""
