"""Loading what a process is made of: done once, before it serves."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Imports and composes without the garbage collector, and keeps it away from the result.

    Modules, classes and routes stay until the process ends. Looking for cycles among them while
    they pile up, and again once the service has started, was a tenth of a start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
