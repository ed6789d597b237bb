//! The n best items of every query, without the score matrix.
//!
//! ```text
//! for batches of queries, in parallel:
//!     for blocks of items:
//!         scores of the block, q·z_i + b_i
//!         for items that beat the worst of the n best so far, and may be answered:
//!             put it in their place                              a heap with the worst on top
//!     sort the heap: score descending, then item ascending
//! ```
//!
//! 1. A block of scores is all that is ever held; most items fail one comparison and cost no more.
//! 2. Four queries share the loads of an item. A score has the bits of `score::dot`, alone or in a batch.
//! 3. Items come in ascending order, so an equal score never displaces an earlier item, and exclusions,
//!    ascending too, are skipped by a cursor.
//! 4. Where candidates are given, only they are scored, four at a time.
//! 5. Vectors stay out of closures: a closure is compiled without the features of the function it is in.

use std::ops::Range;

use crate::cells::{check_offsets, row_of};
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared};
use crate::score::dots;
use crate::simd::{Element, Isa, Kernel, Simd};

/// Queries of a task.
const BATCH: usize = 8;

/// Items whose scores are held at a time.
const BLOCK: usize = 256;

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
    let room = r.n.min(items);
    run.for_each(
        &batches,
        || Scratch {
            best: (0..BATCH).map(|_| Best { room, held: Vec::with_capacity(room) }).collect(),
            scores: vec![T::ZERO; BATCH * BLOCK],
        },
        |scratch, batch| {
            let places = batch.start * r.n..batch.end * r.n;
            // SAFETY: batches are disjoint.
            let (index, score) = unsafe { (index.range(places.clone()), score.range(places)) };
            T::run(isa, Batch { r: &r, items, queries: batch.clone(), run, scratch, index, score })
        },
    )
}

struct Scratch<T> {
    best: Vec<Best<T>>,
    /// `BLOCK` scores for each query of a batch.
    scores: Vec<T>,
}

struct Batch<'a, T> {
    r: &'a Ranking<'a, T>,
    items: usize,
    queries: Range<usize>,
    run: Run<'a>,
    scratch: &'a mut Scratch<T>,
    index: &'a mut [i64],
    score: &'a mut [T],
}

impl<T: Element> Kernel<T> for Batch<'_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) -> Result<()> {
        let r = self.r;
        let Scratch { best, scores } = self.scratch;
        let mut filters = [Filter { excluded: &[], allow: r.allow }; BATCH];
        for (at, u) in self.queries.clone().enumerate() {
            best[at].held.clear();
            filters[at].excluded = r.exclude.map_or(&[][..], |l| &l.1[row_of(l.0, u)]);
        }
        if let Some(lists) = r.candidates {
            for (at, u) in self.queries.clone().enumerate() {
                for block in lists.1[row_of(lists.0, u)].chunks(BLOCK) {
                    self.run.check()?;
                    score_candidates(simd, r, u, block, scores);
                    for (&i, &score) in block.iter().zip(scores.iter()) {
                        best[at].offer(score, i, &mut filters[at]);
                    }
                }
            }
        } else {
            for start in (0..self.items).step_by(BLOCK) {
                self.run.check()?;
                let block = start..(start + BLOCK).min(self.items);
                score_block(simd, r, self.queries.clone(), block.clone(), scores);
                for at in 0..self.queries.len() {
                    let scores = &scores[at * BLOCK..][..block.len()];
                    for (i, &score) in block.clone().zip(scores) {
                        best[at].offer(score, i as u32, &mut filters[at]);
                    }
                }
            }
        }
        let places = self.index.chunks_exact_mut(r.n).zip(self.score.chunks_exact_mut(r.n));
        for (best, (index, score)) in best.iter_mut().zip(places) {
            best.write(index, score);
        }
        Ok(())
    }
}

/// Scores of a block of items for a batch of queries: `BLOCK` apart from query to query.
#[inline(always)]
fn score_block<S: Simd>(
    simd: S,
    r: &Ranking<'_, S::Elem>,
    queries: Range<usize>,
    block: Range<usize>,
    scores: &mut [S::Elem],
) {
    let k = r.rank;
    let row = |u: usize| r.queries[u * k..(u + 1) * k].as_ptr();
    for (at, i) in block.enumerate() {
        let z = r.items[i * k..(i + 1) * k].as_ptr();
        let bias = r.item_bias.map_or(S::Elem::ZERO, |bias| bias[i]);
        let mut u = queries.start;
        while u + 4 <= queries.end {
            let four = [row(u), row(u + 1), row(u + 2), row(u + 3)];
            // SAFETY: all are slices of k elements.
            let found = unsafe { dots(simd, four, z, k) };
            for (place, dot) in found.into_iter().enumerate() {
                scores[(u - queries.start + place) * BLOCK + at] = dot + bias;
            }
            u += 4;
        }
        while u < queries.end {
            // SAFETY: as above.
            let [dot] = unsafe { dots(simd, [row(u)], z, k) };
            scores[(u - queries.start) * BLOCK + at] = dot + bias;
            u += 1;
        }
    }
}

/// Scores of a few items for query `u`.
#[inline(always)]
fn score_candidates<S: Simd>(
    simd: S,
    r: &Ranking<'_, S::Elem>,
    u: usize,
    candidates: &[u32],
    scores: &mut [S::Elem],
) {
    let k = r.rank;
    let q = r.queries[u * k..(u + 1) * k].as_ptr();
    let row = |i: u32| r.items[i as usize * k..(i as usize + 1) * k].as_ptr();
    let bias = |i: u32| r.item_bias.map_or(S::Elem::ZERO, |bias| bias[i as usize]);
    let mut at = 0;
    while at + 4 <= candidates.len() {
        let four = [candidates[at], candidates[at + 1], candidates[at + 2], candidates[at + 3]];
        // SAFETY: all are slices of k elements.
        let found = unsafe { dots(simd, four.map(row), q, k) };
        for (place, dot) in found.into_iter().enumerate() {
            scores[at + place] = dot + bias(four[place]);
        }
        at += 4;
    }
    for at in at..candidates.len() {
        // SAFETY: as above.
        let [dot] = unsafe { dots(simd, [row(candidates[at])], q, k) };
        scores[at] = dot + bias(candidates[at]);
    }
}

/// What may be shown to one query. Asked for ascending items only.
#[derive(Clone, Copy)]
struct Filter<'a> {
    /// Those from the item asked last on.
    excluded: &'a [u32],
    allow: Option<&'a [bool]>,
}

impl Filter<'_> {
    #[inline(always)]
    fn shows(&mut self, item: u32) -> bool {
        if self.allow.is_some_and(|allow| !allow[item as usize]) {
            return false;
        }
        while let Some((&first, rest)) = self.excluded.split_first() {
            if first >= item {
                return first > item;
            }
            self.excluded = rest;
        }
        true
    }
}

/// The best items so far: a heap with the worst on top.
struct Best<T> {
    room: usize,
    held: Vec<(T, u32)>,
}

/// Is `a` a worse answer than `b`?
#[inline(always)]
fn worse<T: PartialOrd>(a: (T, u32), b: (T, u32)) -> bool {
    a.0 < b.0 || (a.0 == b.0 && a.1 > b.1)
}

impl<T: Element> Best<T> {
    /// Hold the item if it is among the best; items come in ascending order.
    #[inline(always)]
    fn offer(&mut self, score: T, item: u32, filter: &mut Filter) {
        let full = self.held.len() == self.room;
        // Written so that NaN fails.
        let better = if full {
            self.held.first().is_some_and(|worst| score > worst.0)
        } else {
            !score.to_f64().is_nan()
        };
        if better && filter.shows(item) {
            self.insert(score, item, full);
        }
    }

    #[cold]
    #[inline(never)]
    fn insert(&mut self, score: T, item: u32, full: bool) {
        if full {
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
    fn write(&mut self, index: &mut [i64], score: &mut [T]) {
        self.held.sort_unstable_by(|&a, &b| {
            if worse(b, a) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater }
        });
        index.fill(-1);
        score.fill(T::from_f64(f64::NAN));
        for (at, &(value, item)) in self.held.iter().enumerate() {
            (index[at], score[at]) = (item as i64, value);
        }
    }
}
