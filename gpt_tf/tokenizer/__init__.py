"""Text to token ids and back: train, encode, decode, save, load (no TensorFlow)."""
