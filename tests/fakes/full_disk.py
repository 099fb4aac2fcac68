"""A disk that takes no more: a limit of the kernel on the size of files, in this process and for as long as a block lasts."""

import resource
from contextlib import contextmanager


@contextmanager
def no_file_beyond(size):
    """Writing beyond so many bytes of a file fails with EFBIG, as a full disk fails with ENOSPC: in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
