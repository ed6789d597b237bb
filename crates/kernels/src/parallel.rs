//! Work shared among threads that live as long as one call.
//!
//! ```text
//! chunks, the heaviest first → an atomic counter → threads, each with scratch of its own
//! ```
//!
//! Threads are scoped to the call: there is no pool to lose in a forked child, and starting one costs
//! some 20 µs against calls of milliseconds. Which thread takes a chunk never reaches the result: every
//! chunk writes to places of its own.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// How a call may run: on how many threads, and whether it has been told to stop.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    threads: usize,
    cancel: &'a AtomicBool,
}

impl<'a> Run<'a> {
    /// At most `threads` threads; the call returns soon after `cancel` becomes true.
    #[must_use]
    pub fn new(threads: usize, cancel: &'a AtomicBool) -> Self {
        Run { threads: threads.max(1), cancel }
    }

    /// The most threads that may be used.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// `Error::Cancelled` where the caller has asked to stop.
    ///
    /// # Errors
    /// `Error::Cancelled`.
    #[inline]
    pub fn check(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Call `work(scratch, chunk)` for every chunk, each thread with a scratch from `scratch()`.
    ///
    /// # Errors
    /// Any error of `work`; where several rows are singular, the smallest row among them.
    pub fn for_each<C: Sync, X>(
        &self,
        chunks: &[C],
        scratch: impl Fn() -> X + Sync,
        work: impl Fn(&mut X, &C) -> Result<()> + Sync,
    ) -> Result<()> {
        let next = AtomicUsize::new(0);
        let take_all = || -> Result<()> {
            let mut own = scratch();
            let mut outcome = Ok(());
            while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.check()?;
                // A singular row does not stop the others: the smallest one is reported, whichever
                // thread came first.
                outcome = worse(outcome, work(&mut own, chunk));
                if matches!(outcome, Err(Error::Cancelled | Error::Contract(_))) {
                    break;
                }
            }
            outcome
        };
        let helpers = self.threads.min(chunks.len()).saturating_sub(1);
        if helpers == 0 {
            return take_all();
        }
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..helpers).map(|_| scope.spawn(take_all)).collect();
            let mut outcome = take_all();
            for thread in running {
                match thread.join() {
                    Ok(other) => outcome = worse(outcome, other),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            outcome
        })
    }
}

/// The worse of two outcomes: of two singular rows, the smaller.
pub fn worse(one: Result<()>, two: Result<()>) -> Result<()> {
    match (one, two) {
        (Err(Error::Singular { row: a }), Err(Error::Singular { row: b })) => {
            Err(Error::Singular { row: a.min(b) })
        }
        (Err(Error::Singular { .. }), Err(other)) | (Err(other), _) | (Ok(()), Err(other)) => Err(other),
        (Ok(()), Ok(())) => Ok(()),
    }
}

/// Cut rows into chunks of about equal cost, the costliest first.
///
/// A row of more than a chunk's cost is a chunk of its own, so that it neither waits for others nor
/// makes others wait.
pub fn chunks_by_cost(rows: usize, threads: usize, cost: impl Fn(usize) -> f64) -> Vec<Range<usize>> {
    let total: f64 = (0..rows).map(&cost).sum();
    let target = total / (threads as f64 * 32.0);
    let mut chunks: Vec<(f64, Range<usize>)> = Vec::new();
    let (mut start, mut sum) = (0, 0.0);
    for row in 0..rows {
        let own = cost(row);
        if sum > 0.0 && sum + own > target {
            chunks.push((sum, start..row));
            (start, sum) = (row, 0.0);
        }
        sum += own;
    }
    if start < rows {
        chunks.push((sum, start..rows));
    }
    chunks.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.start.cmp(&b.1.start)));
    chunks.into_iter().map(|(_, rows)| rows).collect()
}

/// An array that threads write to at places of their own.
pub struct Shared<'a, T> {
    start: *mut T,
    length: usize,
    _array: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: `range` hands out disjoint parts only, as its callers promise; the array itself is borrowed
// mutably for as long as this value lives.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Share an array.
    pub fn new(array: &'a mut [T]) -> Self {
        Shared { start: array.as_mut_ptr(), length: array.len(), _array: std::marker::PhantomData }
    }

    /// Where the array begins, for threads that keep to elements of their own.
    #[inline(always)]
    pub fn pointer(&self) -> *mut T {
        self.start
    }

    /// The elements of a range, to write to.
    ///
    /// # Safety
    /// No two threads may hold overlapping ranges at the same time.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn range(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: in bounds by the assertion, and not aliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
