"""A run put together: started, resumed, fine-tuned, measured, swept; and its Python face."""
