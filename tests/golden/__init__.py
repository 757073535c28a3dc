"""Comparisons with numbers recorded from the published implementation."""
