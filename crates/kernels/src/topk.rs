//! The n best items of every query, without the score matrix.
//!
//! Two ways to the same bits: `filter.rs` rounds queries and items to eight bits, bounds what that
//! costs, and computes only the scores that may be among the best; `direct.rs` computes them all. A
//! score has the bits of `score::dot` in both; `best.rs` holds the best.

mod best;
mod direct;
mod filter;

use crate::cells::{check_offsets, row_of};
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared};
use crate::simd::{Element, Isa};

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

/// A ranking whose shapes have been checked.
struct Problem<'a, T> {
    r: Ranking<'a, T>,
    queries: usize,
    items: usize,
    /// How many there can be for a query.
    room: usize,
}

impl<'a, T: Element> Problem<'a, T> {
    /// # Errors
    /// `Error::Contract`, `Error::Cancelled`.
    fn checked(run: Run<'_>, r: Ranking<'a, T>, out_index: &[i64], out_score: &[T]) -> Result<Self> {
        if r.rank == 0
            || !r.queries.len().is_multiple_of(r.rank)
            || !r.items.len().is_multiple_of(r.rank)
        {
            return Err(Error::contract("queries and items must be rows × K with the same K ≥ 1"));
        }
        let (queries, items) = (r.queries.len() / r.rank, r.items.len() / r.rank);
        if u32::try_from(items).is_err() {
            return Err(Error::contract("more than 2³² − 1 items"));
        }
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
            let parts: Vec<_> = (0..queries).step_by(4096).map(|q| q..(q + 4096).min(queries)).collect();
            run.for_each(
                &parts,
                || (),
                |(), part| {
                    let ascends = |q: usize| {
                        let list = &lists.1[row_of(lists.0, q)];
                        list.windows(2).all(|pair| pair[0] < pair[1])
                            && list.last().is_none_or(|&last| (last as usize) < items)
                    };
                    if part.clone().all(ascends) {
                        return Ok(());
                    }
                    Err(Error::contract("exclude and candidates must ascend within the items"))
                },
            )?;
        }
        Ok(Problem { r, queries, items, room: r.n.min(items) })
    }

    #[inline(always)]
    fn query(&self, u: usize) -> &'a [T] {
        &self.r.queries[u * self.r.rank..(u + 1) * self.r.rank]
    }

    #[inline(always)]
    fn item(&self, i: usize) -> &'a [T] {
        &self.r.items[i * self.r.rank..(i + 1) * self.r.rank]
    }

    #[inline(always)]
    fn bias(&self, i: usize) -> T {
        self.r.item_bias.map_or(T::ZERO, |bias| bias[i])
    }

    /// What query `u` must not be answered, ascending.
    #[inline(always)]
    fn excluded(&self, u: usize) -> &'a [u32] {
        self.r.exclude.map_or(&[][..], |lists| &lists.1[row_of(lists.0, u)])
    }

    /// Write the answers to query `u`.
    ///
    /// # Safety
    /// No two threads may write those of one query.
    unsafe fn write(
        &self,
        best: &mut best::Best<T>,
        u: usize,
        index: &Shared<'_, i64>,
        score: &Shared<'_, T>,
    ) {
        let places = u * self.r.n..(u + 1) * self.r.n;
        // SAFETY: the caller's promise.
        let (index, score) = unsafe { (index.range(places.clone()), score.range(places)) };
        best.write(index, score);
    }
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
    let p = Problem::checked(run, *ranking, out_index, out_score)?;
    if p.r.n == 0 {
        return Ok(());
    }
    let (index, score) = (Shared::new(out_index), Shared::new(out_score));
    if filter::pays(&p)
        && let Some(packed) = filter::Packed::new(isa, run, &p)?
    {
        return filter::rank(isa, run, &p, &packed, &index, &score);
    }
    direct::rank(isa, run, &p, &index, &score)
}
