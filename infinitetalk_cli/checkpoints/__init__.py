"""Weight files on this machine: which a model needs, where they lie, whether they are whole. No torch at the top."""
