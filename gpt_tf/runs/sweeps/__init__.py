"""Sweeps: a grid of settings, a run for each cell, and what they have come to."""
