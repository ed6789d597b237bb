//! What the tests of several files share.

use std::sync::atomic::AtomicBool;

use halfstep_kernels::{Element, Prior, Run};

pub static GO: AtomicBool = AtomicBool::new(false);

/// A run on so many threads that nobody stops.
pub fn run(threads: usize) -> Run<'static> {
    Run::new(threads, &GO)
}

/// P of so many unknowns: dense, or a diagonal by its length.
pub fn prior<T>(entries: Option<&[T]>, unknowns: usize) -> Option<Prior<'_, T>> {
    entries.map(|p| if p.len() == unknowns { Prior::Diagonal(p) } else { Prior::Dense(p) })
}

/// The entry (i, j) of such a P.
pub fn prior_entry<T: Element>(entries: &[T], unknowns: usize, i: usize, j: usize) -> f64 {
    match entries.len() == unknowns {
        true if i == j => entries[i].to_f64(),
        true => 0.0,
        false => entries[i * unknowns + j].to_f64(),
    }
}

/// A small deterministic generator: uniform in [-1, 1).
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
    pub fn below(&mut self, n: usize) -> usize {
        ((self.next() + 1.0) / 2.0 * n as f64) as usize % n
    }
    pub fn many<T: Element>(&mut self, n: usize) -> Vec<T> {
        (0..n).map(|_| T::from_f64(self.next())).collect()
    }
}
