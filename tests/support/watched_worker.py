"""One of several workers that watch one another: started as a process of its own.

    python watched_worker.py PLACE OPTIONS ACTIONS

Three JSON values. The place is what `Place` takes; what a worker gets goes to stdout, a line each.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from functools import partial
from typing import Any

from gpt_tf.errors import RunError, UsageError
from gpt_tf.training.watch import Place, Watch, watching

ERRORS = {"UsageError": UsageError, "RunError": RunError, "OSError": OSError, "exit": SystemExit}


def act(watch: Watch, action: str, *arguments: Any) -> None:
    """Do what an action says, and print what came of it."""
    if action == "share":
        shared = json.dumps(watch.share(*arguments))
        print(shared[:40], len(shared), flush=True)
    elif action == "compare":
        watch.compare(*arguments)
        print("equal", flush=True)
    elif action == "sleep":
        time.sleep(*arguments)
    elif action == "raise":
        raise ERRORS[arguments[0]](arguments[1])


def main() -> int:
    place, options, actions = (json.loads(text) for text in sys.argv[1:])
    facts, afterwards = options.pop("facts", {}), options.pop("afterwards")
    if options.pop("says"):
        options["say"] = partial(print, file=sys.stderr, flush=True)
    place = {**place, "address": tuple(place["address"]), "secret": place["secret"].encode()}
    place["names"] = tuple(place.get("names", ()))

    def stop(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    try:
        with watching(Place(**place), facts, **options) as watch:
            print("met", flush=True)
            for action in actions:
                act(watch, *action)
    except (UsageError, RunError, OSError) as error:
        time.sleep(afterwards)
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
