"""Finished work on disk: plain data to a name (`fingerprint`), work folders and entries (`store`)."""
