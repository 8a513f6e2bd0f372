"""Durable files: atomic writes, manifests, locks, archives, checkpoints (no TensorFlow)."""
