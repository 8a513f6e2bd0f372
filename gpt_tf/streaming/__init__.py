"""Documents to batches, in stages, one file each (no TensorFlow).

1. `finding`: which files there are, without what gpt-tf wrote (`own_work`); `sources`: the
   documents in them (`files` has the bytes, `records` their text, `tables` the records in it,
   `kinds` the table of what files there are)
2. `cleaning`: what is not the author's text goes
3. `splits`: which document is trained on; `duplicates`: which ones are in both parts
4. `order`: a new permutation each epoch, computed and never stored
5. `windows`: token ids of one row; `stored_windows` gives those of a `token_store`;
   `rows` chooses
6. `batches`: batch i, a pure function; `prefetch`: threads that work ahead, in order
7. `batch_stream`: the iterator of batches with its state; `dataset` for TensorFlow
8. `stream`: `TokenStream`, all of this from a folder's name, files or texts (`given_data`)

`corpora` prepares ready corpora; `sample_reviews` writes one of our own.
"""
