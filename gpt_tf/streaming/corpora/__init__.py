"""The corpora that gpt-tf knows by name, and the one it writes."""
