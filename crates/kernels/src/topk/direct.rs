//! Every score in full: for few queries, for given candidates, and where a bound would not help.
//!
//! ```text
//! for parts of the items and batches of queries, in parallel:
//!     for blocks of items:
//!         scores of the block, q·z_i + b_i
//!         for items that beat the worst of the n best so far, and may be answered:
//!             put it in their place
//! for queries:  the n best of all parts
//! ```
//!
//! 1. Four queries share the loads of an item; what is left of a batch takes four items at a time.
//! 2. Few queries share the items among the threads: a request of one streams them from memory once,
//!    on all cores.
//! 3. Items come in ascending order, so that exclusions, ascending too, are skipped by a cursor.

use std::ops::Range;

use super::{Problem, best::Best};
use crate::cells::row_of;
use crate::error::Result;
use crate::parallel::{Run, Shared};
use crate::score::dots;
use crate::simd::{Element, Isa, Kernel, Simd};

/// Queries of a task.
const BATCH: usize = 8;

/// Items whose scores are held at a time.
const BLOCK: usize = 256;

/// The fewest items that are worth a task of their own.
const PART: usize = 4096;

/// Rank `p.items` items for all queries.
pub fn rank<T: Element>(
    isa: Isa,
    run: Run<'_>,
    p: &Problem<'_, T>,
    index: &Shared<'_, i64>,
    score: &Shared<'_, T>,
) -> Result<()> {
    let batches = p.queries.div_ceil(BATCH);
    let part = if p.r.candidates.is_some() || batches >= 2 * run.threads() {
        p.items
    } else {
        (p.items * batches).div_ceil(2 * run.threads()).clamp(PART.min(p.items), p.items)
    };
    let starts = || (0..p.items.max(1)).step_by(part.max(1));
    let parts = starts().count();
    let tasks: Vec<(usize, Range<usize>)> = (0..batches)
        .flat_map(|batch| starts().map(move |start| (batch, start..(start + part).min(p.items))))
        .collect();
    // The best of every query in every part, where there are several.
    let mut found: Vec<Vec<(T, u32)>> = vec![Vec::new(); if parts > 1 { parts * p.queries } else { 0 }];
    let shared = Shared::new(&mut found);
    run.for_each(
        &tasks,
        || Scratch {
            best: (0..BATCH.min(p.queries)).map(|_| Best::new(p.room.min(part))).collect(),
            scores: vec![T::ZERO; BATCH * BLOCK],
        },
        |scratch, (batch, items)| {
            let queries = batch * BATCH..((batch + 1) * BATCH).min(p.queries);
            let task = Batch { p, queries: queries.clone(), items: items.clone(), run };
            T::run(isa, Scored { task, scratch })?;
            for (best, u) in scratch.best.iter_mut().zip(queries) {
                if parts > 1 {
                    let place = u * parts + items.start / part;
                    // SAFETY: this query and part are this task's alone.
                    let own = unsafe { shared.range(place..place + 1) };
                    own[0].extend_from_slice(best.held());
                } else {
                    // SAFETY: this query is this task's alone.
                    unsafe { p.write(best, u, index, score) };
                }
            }
            Ok(())
        },
    )?;
    if parts > 1 {
        let mut best = Best::new(p.room);
        for (u, parts) in found.chunks(parts).enumerate() {
            best.clear();
            for &(score, item) in parts.iter().flatten() {
                if best.wants(score, item) {
                    best.insert(score, item);
                }
            }
            // SAFETY: no thread is left.
            unsafe { p.write(&mut best, u, index, score) };
        }
    }
    Ok(())
}

struct Scratch<T> {
    best: Vec<Best<T>>,
    /// `BLOCK` scores for each query of a batch.
    scores: Vec<T>,
}

struct Batch<'a, T> {
    p: &'a Problem<'a, T>,
    queries: Range<usize>,
    items: Range<usize>,
    run: Run<'a>,
}

struct Scored<'a, T> {
    task: Batch<'a, T>,
    scratch: &'a mut Scratch<T>,
}

impl<T: Element> Kernel<T> for Scored<'_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) -> Result<()> {
        let Batch { p, queries, items, run } = self.task;
        let Scratch { best, scores } = self.scratch;
        let mut filters = [Filter { excluded: &[], allow: p.r.allow }; BATCH];
        for (at, u) in queries.clone().enumerate() {
            best[at].clear();
            let excluded = p.excluded(u);
            filters[at].excluded =
                &excluded[excluded.partition_point(|&i| (i as usize) < items.start)..];
        }
        if let Some(lists) = p.r.candidates {
            for (at, u) in queries.enumerate() {
                for block in lists.1[row_of(lists.0, u)].chunks(BLOCK) {
                    run.check()?;
                    score_items(simd, p, u, block.len(), |place| block[place] as usize, scores);
                    for (&i, &score) in block.iter().zip(scores.iter()) {
                        filters[at].offer(&mut best[at], score, i);
                    }
                }
            }
            return Ok(());
        }
        for start in items.clone().step_by(BLOCK) {
            run.check()?;
            let block = start..(start + BLOCK).min(items.end);
            score_block(simd, p, queries.clone(), block.clone(), scores);
            for at in 0..queries.len() {
                let scores = &scores[at * BLOCK..][..block.len()];
                for (i, &score) in block.clone().zip(scores) {
                    filters[at].offer(&mut best[at], score, i as u32);
                }
            }
        }
        Ok(())
    }
}

/// Scores of a block of items for a batch of queries: `BLOCK` apart from query to query.
#[inline(always)]
fn score_block<S: Simd>(
    simd: S,
    p: &Problem<'_, S::Elem>,
    queries: Range<usize>,
    block: Range<usize>,
    scores: &mut [S::Elem],
) {
    let fours = queries.len() / 4 * 4;
    for (at, i) in block.clone().enumerate() {
        let (z, bias) = (p.item(i), p.bias(i));
        for four in (0..fours).step_by(4) {
            let u = queries.start + four;
            let q = [p.query(u), p.query(u + 1), p.query(u + 2), p.query(u + 3)];
            // SAFETY: all are slices of K elements.
            let found = unsafe { dots(simd, q.map(<[_]>::as_ptr), z.as_ptr(), p.r.rank) };
            for (place, dot) in found.into_iter().enumerate() {
                scores[(four + place) * BLOCK + at] = dot + bias;
            }
        }
    }
    for at in fours..queries.len() {
        let scores = &mut scores[at * BLOCK..];
        score_items(simd, p, queries.start + at, block.len(), |place| block.start + place, scores);
    }
}

/// Scores of `count` items for query `u`.
#[inline(always)]
fn score_items<S: Simd>(
    simd: S,
    p: &Problem<'_, S::Elem>,
    u: usize,
    count: usize,
    item: impl Fn(usize) -> usize,
    scores: &mut [S::Elem],
) {
    let q = p.query(u).as_ptr();
    let row = |at: usize| p.item(item(at)).as_ptr();
    let fours = count / 4 * 4;
    for at in (0..fours).step_by(4) {
        // SAFETY: all are slices of K elements.
        let found = unsafe { dots(simd, [at, at + 1, at + 2, at + 3].map(row), q, p.r.rank) };
        for (place, dot) in found.into_iter().enumerate() {
            scores[at + place] = dot + p.bias(item(at + place));
        }
    }
    for at in fours..count {
        // SAFETY: as above.
        let [dot] = unsafe { dots(simd, [row(at)], q, p.r.rank) };
        scores[at] = dot + p.bias(item(at));
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
    /// Hold the item if it is among the best and may be shown.
    #[inline(always)]
    fn offer<T: Element>(&mut self, best: &mut Best<T>, score: T, item: u32) {
        if best.wants(score, item) && self.shows(item) {
            best.insert(score, item);
        }
    }

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
