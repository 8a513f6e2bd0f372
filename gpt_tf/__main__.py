"""`python -m gpt_tf` is `gpt-tf`."""

from gpt_tf.cli.main import main

main()
