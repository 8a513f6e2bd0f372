"""The GPT: attention, layers, the whole model (Keras layers, TensorFlow operations)."""
