"""A cache that is filled from its first slot on, for tests of what reads one."""

import numpy as np

from gpt_tf.inference.kv_cache import KVCache


class AppendingCache(KVCache):
    """Counts the slots that were written."""

    used = 0

    def append(self, fresh_L2BNTH: np.ndarray) -> range:
        """Write the next slots of every row; which these are."""
        new = range(self.used, self.used + fresh_L2BNTH.shape[4])
        self.reserve(new.stop)
        self.write(fresh_L2BNTH, np.tile(np.array(new, np.intp), (fresh_L2BNTH.shape[2], 1)))
        self.used = new.stop
        return new
