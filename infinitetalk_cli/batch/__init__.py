"""Many jobs: lists of them, the engines that run them, and what became of each."""
