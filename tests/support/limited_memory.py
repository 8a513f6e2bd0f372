"""Run as a script: a command of gpt-tf that may take so many megabytes more than TensorFlow itself.

Arguments: the megabytes, and those of the command.
"""

import resource
import sys

import psutil

from gpt_tf.cli.main import main
from gpt_tf.cli.tensorflow_quietly import import_tensorflow

import_tensorflow()
limit = psutil.Process().memory_info().vms + int(sys.argv[1]) * 1_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
main(sys.argv[2:])
