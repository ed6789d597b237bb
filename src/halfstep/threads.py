"""How many threads the native kernels use. The answer is the same bits for any number."""

from __future__ import annotations

from functools import cache
from typing import Any

from halfstep import _native
from halfstep.errors import ParameterError

__all__ = ["get_num_threads", "one_blas_thread", "set_num_threads"]


def set_num_threads(n: int) -> None:
    """Use `n` threads from now on (default: HALFSTEP_NUM_THREADS, else the cores available)."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 4096:
        raise ParameterError("n", n, "must be an integer from 1 to 4096", "try n=2")
    _native.set_num_threads(n)


def get_num_threads() -> int:
    """The number of threads that the native kernels use."""
    return _native.get_num_threads()


def one_blas_thread() -> Any:
    """A context in which numpy's linear algebra has one thread, and so the same bits everywhere."""
    return _blas().limit(limits=1, user_api="blas")


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
