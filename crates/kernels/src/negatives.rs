//! Negatives: items that a user has no positive cell with, drawn by counter.
//!
//! ```text
//! draw d of cell (u, i) in epoch e: words 2 (d mod 2) and the next one, a and b, of
//!     Philox4x32-10(counter (d div 2, i, u, e), key = seed)
//! a < own_g: from the part g of i, else from the part h that goes with it in this step
//! b: which item of the part: the ⌊b · size / 2³²⌋-th, or the first whose end is above b
//! ```
//!
//! A draw that is a positive of u is passed over, for at most 31 draws more than are wanted. What a cell is
//! given depends on nothing but the cell, the epoch and the parts, so on no other thread.

use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::random::{COUNTERS, philox};

/// Draws beyond those wanted before a cell goes without.
const SPARE: usize = 31;
/// Draws of one refill.
const REFILL: usize = 2 * COUNTERS;

/// How negatives are drawn in an epoch.
#[derive(Clone, Copy)]
pub struct Negatives<'a> {
    /// The positives of every user: offsets, and items, ascending.
    pub positives: (&'a [i64], &'a [u32]),
    /// Of every item, in the grid's dealt order: 2³² times the chance of it and those before it in its part.
    /// None: all alike.
    pub ends: Option<&'a [u32]>,
    /// Of every part: 2³² times the chance that a negative of its cells is drawn from it.
    pub own: &'a [u32],
    /// N: how many a cell is given.
    pub count: usize,
    /// Chooses the draws.
    pub seed: u64,
    /// Chooses the draws of an epoch.
    pub epoch: u32,
    /// Whether the draws of a cell are those of user 0, so that rows do not depend on their number.
    pub anonymous: bool,
}

impl Negatives<'_> {
    pub(crate) fn check(&self, grid: &Grid) -> Result<()> {
        let (m, n) = grid.rows();
        let parts = grid.parts().1;
        crate::cells::check_offsets(self.positives.0, self.positives.1.len())?;
        if self.positives.0.len() != m + 1
            || self.ends.is_some_and(|ends| ends.len() != n)
            || self.own.len() != parts
            || self.count == 0
            || (0..parts).any(|q| grid.items(q).0.is_empty())
        {
            return Err(Error::contract(
                "positives, ends and own must fit the grid, whose parts hold items",
            ));
        }
        Ok(())
    }

    /// The words of the first two draws of so many cells.
    #[inline(always)]
    pub(crate) fn first(&self, cells: &[[u32; 3]]) -> [[u32; COUNTERS]; 4] {
        let mut counters = [[0; COUNTERS], [0; COUNTERS], [0; COUNTERS], [self.epoch; COUNTERS]];
        for (place, &[u, i, _]) in cells.iter().enumerate() {
            counters[1][place] = i;
            counters[2][place] = if self.anonymous { 0 } else { u };
        }
        philox(counters, self.key())
    }

    #[allow(clippy::cast_possible_truncation)] // the halves
    fn key(&self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }
}

/// Where the negatives of a block come from.
#[derive(Clone, Copy)]
pub(crate) struct Urn<'a> {
    pub(crate) negatives: &'a Negatives<'a>,
    own: u32,
    /// The parts g and h: items, and their ends.
    parts: [(&'a [u32], Option<&'a [u32]>); 2],
}

impl<'a> Urn<'a> {
    pub(crate) fn new(negatives: &'a Negatives<'a>, grid: &'a Grid, [g, h]: [usize; 2]) -> Self {
        let part = |q: usize| {
            let (items, first) = grid.items(q);
            (items, negatives.ends.map(|ends| &ends[first..first + items.len()]))
        };
        Urn { negatives, own: negatives.own[g], parts: [part(g), part(h)] }
    }

    /// The item of two words.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // a part has fewer than 2³² items
    pub(crate) fn item(&self, a: u32, b: u32) -> u32 {
        let (items, ends) = self.parts[usize::from(a >= self.own)];
        let place = match ends {
            None => ((u64::from(b) * items.len() as u64) >> 32) as usize,
            Some(ends) => below(ends, b).min(items.len() - 1),
        };
        items[place]
    }

    /// The positives of a user.
    #[inline(always)]
    pub(crate) fn positives(&self, u: u32) -> &'a [u32] {
        let (indptr, indices) = self.negatives.positives;
        &indices[crate::cells::row_of(indptr, u as usize)]
    }

    /// The draws of a cell from number `next` on, an even one, of which `wanted` are to be taken.
    #[inline(always)]
    pub(crate) fn draws(&self, [u, i, _]: [u32; 3], next: usize, wanted: usize) -> Draws<'_> {
        Draws {
            urn: self,
            positives: self.positives(u),
            cell: [i, if self.negatives.anonymous { 0 } else { u }],
            words: [[0; COUNTERS]; 4],
            next,
            filled: next,
            end: wanted + SPARE,
        }
    }
}

/// The draws of a cell that are no positives, one after the other.
pub(crate) struct Draws<'a> {
    urn: &'a Urn<'a>,
    positives: &'a [u32],
    cell: [u32; 2],
    words: [[u32; COUNTERS]; 4],
    next: usize,
    filled: usize,
    end: usize,
}

impl Draws<'_> {
    /// The next negative, or None where the user's positives have used the draws up.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // `wanted` is below 2³¹
    pub(crate) fn next(&mut self) -> Option<u32> {
        while self.next < self.end {
            if self.next == self.filled {
                let [i, u] = self.cell;
                let mut counters =
                    [[0; COUNTERS], [i; COUNTERS], [u; COUNTERS], [self.urn.negatives.epoch; COUNTERS]];
                for (number, counter) in (self.next as u32 / 2..).zip(&mut counters[0]) {
                    *counter = number;
                }
                self.words = philox(counters, self.urn.negatives.key());
                self.filled += REFILL;
            }
            let place = REFILL - (self.filled - self.next);
            let words = [self.words[place % 2 * 2][place / 2], self.words[place % 2 * 2 + 1][place / 2]];
            self.next += 1;
            let item = self.urn.item(words[0], words[1]);
            if !contains(self.positives, item) {
                return Some(item);
            }
        }
        None
    }
}

/// Whether ascending numbers hold `x`; without a branch that depends on them.
#[inline(always)]
pub(crate) fn contains(ascending: &[u32], x: u32) -> bool {
    let (mut first, mut size) = (0, ascending.len());
    while size > 1 {
        let half = size / 2;
        // SAFETY: first + half < first + size ≤ the length.
        first =
            if unsafe { *ascending.get_unchecked(first + half) } <= x { first + half } else { first };
        size -= half;
    }
    ascending.get(first) == Some(&x)
}

/// How many of ascending numbers are at most `x`.
#[inline(always)]
fn below(ascending: &[u32], x: u32) -> usize {
    let (mut first, mut size) = (0, ascending.len());
    while size > 1 {
        let half = size / 2;
        // SAFETY: first + half ≤ first + size ≤ the length, and half > 0.
        first = if unsafe { *ascending.get_unchecked(first + half - 1) } <= x {
            first + half
        } else {
            first
        };
        size -= half;
    }
    first + usize::from(ascending.get(first).is_some_and(|&end| end <= x))
}
