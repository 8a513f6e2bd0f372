"""The training loop and its parts; read `loop.py` first."""
