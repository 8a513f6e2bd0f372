"""Documents to batches, in stages, one file each (no TensorFlow).

1. `sources`: which files there are, and their text
2. `cleaning`: what is not the author's text goes
3. `splits`: which document is trained on
4. `order`: a new permutation each epoch, computed and never stored
5. `windows`: token ids of one row, padded or packed (`token_store` holds the ids of the latter)
6. `prefetch`: threads that work ahead, in order
7. `stream`: `TokenStream`, the iterator of batches with its state

`corpora` prepares ready corpora; `sample_reviews` writes one of our own.
"""
