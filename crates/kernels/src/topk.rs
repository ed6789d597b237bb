//! The n best items of every query, without the score matrix.
//!
//! ```text
//! for each query:
//!     best ← a sorted list of at most n (score, item)
//!     for each item that is allowed, a candidate and not excluded, in ascending order:
//!         score ← q·z_i + b_i
//!         insert it where it beats the worst of a full list
//! ```
//!
//! 1. Items come in ascending order, so an equal score never displaces an earlier item: ties go to the
//!    smaller index without a comparison of indices.
//! 2. The list is kept sorted by insertion: after the first items a new one rarely enters.
//! 3. Exclusions are ascending too and are skipped by a cursor.
//! 4. Queries run in batches over blocks of items, so that a block stays in cache for the whole batch.

use crate::cells::{check_offsets, row_of};
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared};
use crate::score::dot;
use crate::simd::{Element, Isa, Kernel, Simd};

const BATCH: usize = 16;
const BLOCK_BYTES: usize = 256 * 1024;

/// Ascending item lists, one per query: (offsets, items).
pub type Lists<'a> = (&'a [i64], &'a [u32]);

/// What to rank, and what may be answered.
#[derive(Clone, Copy)]
pub struct Ranking<'a, T> {
    /// K.
    pub rank: usize,
    /// queries × K.
    pub queries: &'a [T],
    /// items × K.
    pub items: &'a [T],
    /// Added to every score of its item.
    pub item_bias: Option<&'a [T]>,
    /// Never these.
    pub exclude: Option<Lists<'a>>,
    /// Only these.
    pub candidates: Option<Lists<'a>>,
    /// Only where true, for all queries.
    pub allow: Option<&'a [bool]>,
    /// How many for each query.
    pub n: usize,
}

/// Indices (−1 where fewer than n are left) and scores (NaN there), each queries × n, best first.
///
/// # Errors
/// `Error::Contract`, `Error::Cancelled`.
pub fn topk<T: Element>(
    isa: Isa,
    run: Run<'_>,
    ranking: &Ranking<'_, T>,
    out_index: &mut [i64],
    out_score: &mut [T],
) -> Result<()> {
    let r = *ranking;
    if r.rank == 0 || !r.queries.len().is_multiple_of(r.rank) || !r.items.len().is_multiple_of(r.rank) {
        return Err(Error::contract("queries and items must be rows × K with the same K ≥ 1"));
    }
    let (queries, items) = (r.queries.len() / r.rank, r.items.len() / r.rank);
    let fits = out_index.len() == queries * r.n
        && out_score.len() == queries * r.n
        && r.item_bias.is_none_or(|b| b.len() == items)
        && r.allow.is_none_or(|a| a.len() == items);
    if !fits {
        return Err(Error::contract("out, item_bias or allow has a wrong shape"));
    }
    for lists in [r.exclude, r.candidates].into_iter().flatten() {
        check_offsets(lists.0, lists.1.len())?;
        if lists.0.len() != queries + 1 {
            return Err(Error::contract("exclude and candidates must have one list per query"));
        }
        let sorted = (0..queries).all(|q| {
            let list = &lists.1[row_of(lists.0, q)];
            list.windows(2).all(|pair| pair[0] < pair[1])
                && list.last().is_none_or(|&last| (last as usize) < items)
        });
        if !sorted {
            return Err(Error::contract("exclude and candidates must ascend within the items"));
        }
    }
    if r.n == 0 {
        return Ok(());
    }
    let batches: Vec<_> = (0..queries).step_by(BATCH).map(|q| q..(q + BATCH).min(queries)).collect();
    let (index, score) = (Shared::new(out_index), Shared::new(out_score));
    run.for_each(
        &batches,
        || (),
        |(), batch| {
            let places = batch.start * r.n..batch.end * r.n;
            // SAFETY: batches are disjoint.
            let (index, score) = unsafe { (index.range(places.clone()), score.range(places)) };
            T::run(isa, Batch { r: &r, items, first: batch.start, run, index, score })
        },
    )
}

struct Batch<'a, T> {
    r: &'a Ranking<'a, T>,
    items: usize,
    first: usize,
    run: Run<'a>,
    index: &'a mut [i64],
    score: &'a mut [T],
}

impl<T: Element> Kernel<T> for Batch<'_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) -> Result<()> {
        let r = self.r;
        let count = self.index.len() / r.n;
        let mut filled = [0_usize; BATCH];
        let mut excluded = [0_usize; BATCH]; // cursors into the exclusion lists
        let mut listed = [0_usize; BATCH]; // cursors into the candidate lists
        let block = (BLOCK_BYTES / (r.rank * size_of::<T>())).max(16);
        for start in (0..self.items).step_by(block) {
            self.run.check()?;
            let end = (start + block).min(self.items);
            for q in 0..count {
                let query = &r.queries[(self.first + q) * r.rank..(self.first + q + 1) * r.rank];
                let exclude = r.exclude.map_or(&[][..], |l| &l.1[row_of(l.0, self.first + q)]);
                let best = &mut Best {
                    index: &mut self.index[q * r.n..(q + 1) * r.n],
                    score: &mut self.score[q * r.n..(q + 1) * r.n],
                    filled: &mut filled[q],
                };
                let mut consider = |i: usize| {
                    while exclude.get(excluded[q]).is_some_and(|&e| (e as usize) < i) {
                        excluded[q] += 1;
                    }
                    if exclude.get(excluded[q]).is_some_and(|&e| e as usize == i)
                        || r.allow.is_some_and(|allow| !allow[i])
                    {
                        return;
                    }
                    let mut score = dot(simd, query, &r.items[i * r.rank..(i + 1) * r.rank]);
                    if let Some(b) = r.item_bias {
                        score += b[i];
                    }
                    best.offer(score, i);
                };
                if let Some(lists) = r.candidates {
                    let list = &lists.1[row_of(lists.0, self.first + q)];
                    while let Some(&i) = list.get(listed[q]).filter(|&&i| (i as usize) < end) {
                        consider(i as usize);
                        listed[q] += 1;
                    }
                } else {
                    for i in start..end {
                        consider(i);
                    }
                }
            }
        }
        for q in 0..count {
            self.index[q * r.n + filled[q]..(q + 1) * r.n].fill(-1);
            self.score[q * r.n + filled[q]..(q + 1) * r.n].fill(T::from_f64(f64::NAN));
        }
        Ok(())
    }
}

struct Best<'a, T> {
    index: &'a mut [i64],
    score: &'a mut [T],
    filled: &'a mut usize,
}

impl<T: Element> Best<'_, T> {
    /// Insert where it belongs; equal scores stay in the order in which they came.
    #[inline(always)]
    fn offer(&mut self, score: T, item: usize) {
        let n = self.index.len();
        if score.to_f64().is_nan() || *self.filled == n && score <= self.score[n - 1] {
            return;
        }
        let mut place = (*self.filled).min(n - 1);
        while place > 0 && self.score[place - 1] < score {
            self.score[place] = self.score[place - 1];
            self.index[place] = self.index[place - 1];
            place -= 1;
        }
        self.score[place] = score;
        self.index[place] = i64::try_from(item).unwrap_or(i64::MAX);
        *self.filled = (*self.filled + 1).min(n);
    }
}
