"""A run put together: begun, resumed, fine-tuned, measured, swept; and its Python face."""
