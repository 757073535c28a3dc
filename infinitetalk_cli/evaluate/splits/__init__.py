"""Which clips are dubbed with whose voice, and the clips themselves."""
