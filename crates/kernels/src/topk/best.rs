//! The n best answers so far: a heap with the worst on top.

use std::cmp::Ordering;

use crate::simd::Element;

/// Items with their scores. Scores descend, and of equal scores the smaller item is the better one, so
/// that the n best are the same in whatever order items come.
pub struct Best<T> {
    room: usize,
    held: Vec<(T, u32)>,
}

/// Is `a` a worse answer than `b`?
#[inline(always)]
fn worse<T: PartialOrd>(a: (T, u32), b: (T, u32)) -> bool {
    a.0 < b.0 || (a.0 == b.0 && a.1 > b.1)
}

impl<T: Element> Best<T> {
    /// Room for n answers, n ≥ 1.
    pub fn new(room: usize) -> Self {
        Best { room, held: Vec::with_capacity(room) }
    }

    pub fn clear(&mut self) {
        self.held.clear();
    }

    pub fn held(&self) -> &[(T, u32)] {
        &self.held
    }

    /// The score that the next one must reach, where no more can be held.
    #[inline(always)]
    pub fn bar(&self) -> Option<T> {
        if self.held.len() == self.room { self.held.first().map(|worst| worst.0) } else { None }
    }

    /// Whether `insert` would hold the item; never one whose score is NaN.
    #[inline(always)]
    pub fn wants(&self, score: T, item: u32) -> bool {
        if self.held.len() == self.room {
            self.held.first().is_some_and(|&worst| score >= worst.0 && worse(worst, (score, item)))
        } else {
            !score.to_f64().is_nan()
        }
    }

    /// Hold an item that is wanted.
    #[cold]
    #[inline(never)]
    pub fn insert(&mut self, score: T, item: u32) {
        if self.held.len() == self.room {
            self.held[0] = (score, item);
            self.sink();
        } else {
            self.held.push((score, item));
            let mut at = self.held.len() - 1;
            while at > 0 && worse(self.held[at], self.held[(at - 1) / 2]) {
                self.held.swap(at, (at - 1) / 2);
                at = (at - 1) / 2;
            }
        }
    }

    /// Move the top down to where it belongs.
    fn sink(&mut self) {
        let mut at = 0;
        loop {
            let mut child = 2 * at + 1;
            if child + 1 < self.held.len() && worse(self.held[child + 1], self.held[child]) {
                child += 1;
            }
            if child >= self.held.len() || !worse(self.held[child], self.held[at]) {
                break;
            }
            self.held.swap(at, child);
            at = child;
        }
    }

    /// Best first, then −1 and NaN.
    pub fn write(&mut self, index: &mut [i64], score: &mut [T]) {
        self.held
            .sort_unstable_by(|&a, &b| if worse(b, a) { Ordering::Less } else { Ordering::Greater });
        index.fill(-1);
        score.fill(T::from_f64(f64::NAN));
        for (at, &(value, item)) in self.held.iter().enumerate() {
            (index[at], score[at]) = (item as i64, value);
        }
    }
}
