"""A trained model to text: decode with a cache, sample or search, stream."""
