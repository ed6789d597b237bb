"""Where the arithmetic runs. To add a backend: one file here, one entry in `_MAKERS`."""

from __future__ import annotations

from halfstep.backends.base import CSR, Backend, RowTerms
from halfstep.errors import BackendError, ParameterError

__all__ = ["CSR", "Backend", "RowTerms", "available_backends", "get_backend"]


def _native() -> Backend:
    from halfstep.backends.native import NativeBackend

    return NativeBackend()


def _numpy() -> Backend:
    from halfstep.backends.numpy import NumpyBackend

    return NumpyBackend()


_MAKERS = {"native": _native, "numpy": _numpy}


def available_backends() -> list[str]:
    """The names that `backend=` takes."""
    return list(_MAKERS)


def get_backend(backend: str | Backend, *, dtype: str = "float32") -> Backend:
    """The backend of that name (or the object itself), checked to support `dtype`.

    Raises `ParameterError` for an unknown name and `BackendError`, with the backend's own reason,
    where it cannot do what is asked; it never falls back to another.
    """
    if isinstance(backend, str):
        if backend not in _MAKERS:
            raise ParameterError(
                "backend", backend, "is not known", f"choose one of {', '.join(_MAKERS)}"
            )
        backend = _MAKERS[backend]()
    if not hasattr(backend, "supports") or isinstance(backend, type):
        raise ParameterError(
            "backend", backend, "is not a backend", f"choose one of {', '.join(_MAKERS)}"
        )
    reason = backend.supports(dtype=dtype)
    if reason is not None:
        raise BackendError(f"backend={backend.name!r}: {reason}; choose another dtype or backend")
    return backend
