"""Written by Rehearsal: lets `time.sleep` sleep where a libfaketime that fakes the time of day alone breaks it.

Python sleeps until a moment of the monotonic clock, which such a libfaketime turns into another. To wait for so long is left alone.
"""

import os
import select
import sys
import time


def sleep(seconds, /):
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], seconds)


time.sleep = sleep

# The one that is found without this folder is run as it would be.
_here = os.path.dirname(os.path.abspath(__file__))
_this = sys.modules.pop(__name__, None)
_path, sys.path = sys.path, [place for place in sys.path if os.path.abspath(place or ".") != _here]
try:
    import sitecustomize  # noqa: F401
except ImportError:
    pass
finally:
    sys.path = _path
    if _this is not None:
        sys.modules.setdefault(__name__, _this)
