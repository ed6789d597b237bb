//! The one door for every native call: the GIL released, Ctrl-C polled, errors and panics mapped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use halfstep_kernels::{Error, Result, Run};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

pyo3::create_exception!(_native, SingularSystem, pyo3::exceptions::PyArithmeticError);

const POLL: Duration = Duration::from_millis(50);
/// Work of fewer operations than this is done before anyone could press Ctrl-C twice.
const SMALL: f64 = 2e6;

static THREADS: AtomicUsize = AtomicUsize::new(0);

const MOST_THREADS: usize = 4096;

/// The number of threads in use: set by the caller, else `HALFSTEP_NUM_THREADS`, else the cores available.
pub fn threads(py: Python<'_>) -> PyResult<usize> {
    let set = THREADS.load(Ordering::Relaxed);
    if set > 0 {
        return Ok(set);
    }
    let wanted =
        std::env::var_os("HALFSTEP_NUM_THREADS").map(|text| text.to_string_lossy().into_owned());
    let chosen = match wanted.filter(|text| !text.is_empty()) {
        Some(text) => match text.parse() {
            Ok(n) if (1..=MOST_THREADS).contains(&n) => n,
            _ => {
                let rule = "must be an integer from 1 to 4096";
                return Err(parameter(py, "HALFSTEP_NUM_THREADS", text, rule, "try 2, or unset it"));
            }
        },
        None => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    THREADS.store(chosen, Ordering::Relaxed);
    Ok(chosen)
}

/// Use `n` threads from now on.
pub fn set_threads(py: Python<'_>, n: usize) -> PyResult<()> {
    if !(1..=MOST_THREADS).contains(&n) {
        return Err(parameter(py, "n", n.to_string(), "must be an integer from 1 to 4096", "try 2"));
    }
    THREADS.store(n, Ordering::Relaxed);
    Ok(())
}

/// Run `work` of about `operations` operations without the GIL.
///
/// Large work runs on threads of its own, while this one wakes every 50 ms to ask Python for signals; on
/// Ctrl-C it tells the work to stop, waits for it, and raises `KeyboardInterrupt`.
pub fn run<R: Send>(
    py: Python<'_>,
    operations: f64,
    work: impl FnOnce(Run<'_>) -> Result<R> + Send,
) -> PyResult<R> {
    let threads = threads(py)?;
    let cancel = AtomicBool::new(false);
    let (outcome, signal) = py.detach(|| {
        if operations < SMALL {
            return (catch_unwind(AssertUnwindSafe(|| work(Run::new(1, &cancel)))), None);
        }
        let (done, waiting) = channel();
        std::thread::scope(|scope| {
            let cancel = &cancel;
            let worker = scope.spawn(move || {
                let outcome = work(Run::new(threads, cancel));
                let _ = done.send(()); // the receiver lives until the join below
                outcome
            });
            let mut signal = None;
            while waiting.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
                if signal.is_none() {
                    signal = Python::attach(|py| py.check_signals()).err();
                    cancel.store(signal.is_some(), Ordering::Relaxed);
                }
            }
            (worker.join(), signal)
        })
    });
    match (signal, outcome) {
        (Some(signal), _) => Err(signal),
        (None, Ok(Ok(result))) => Ok(result),
        (None, Ok(Err(error))) => Err(to_python(py, &error)),
        (None, Err(panic)) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("unknown panic");
            Err(internal(py, &format!("a kernel panicked: {text}")))
        }
    }
}

fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    match error {
        Error::Singular { row } => {
            SingularSystem::new_err((format!("row {row} has no unique solution"), *row))
        }
        Error::Contract(message) => internal(py, message),
        Error::Cancelled => PyKeyboardInterrupt::new_err(()),
    }
}

/// `halfstep.errors.InternalError`.
pub fn internal(py: Python<'_>, message: &str) -> PyErr {
    ours(py, "InternalError", (message,))
}

/// `halfstep.errors.ParameterError`.
pub fn parameter(py: Python<'_>, argument: &str, value: String, rule: &str, remedy: &str) -> PyErr {
    ours(py, "ParameterError", (argument, value, rule, remedy))
}

/// An error of `halfstep.errors`, or the error that came up on the way to it.
fn ours<'py>(py: Python<'py>, class: &str, arguments: impl pyo3::call::PyCallArgs<'py>) -> PyErr {
    py.import("halfstep.errors")
        .and_then(|errors| errors.getattr(class)?.call1(arguments))
        .map_or_else(|error| error, PyErr::from_value)
}
