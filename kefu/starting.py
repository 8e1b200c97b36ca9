"""Loading what a process is made of, once, and keeping the garbage collector away from it."""

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


def spare_the_collector() -> None:
    """For a service that has started: what it is made of by now is never looked through again.

    And a batch makes tens of thousands of objects that die with it: with Python's own thresholds
    an eighth of the processor time went into looking for cycles among them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
