"""Measures that need no trained network: numbers per frame in, a few figures out; no files, no tables."""
