//! A certified filter: eight-bit scores tell which items may be among the best, and only those are scored.
//!
//! ```text
//! items:      z = s_z ẑ + e_z                          rounded to eight bits, once a call, best-looking first
//! for batches of queries, in parallel:
//!     q = s_q q̂ + e_q
//!     for panels of items, for queries:
//!         bar = worst of the n best so far − δ
//!         for tiles of items:
//!             v = s_q s_z (q̂·ẑ) + b                    `bytes.rs`: in registers, compared there
//!             where v ≥ bar, and the item may be shown:
//!                 score = q·z + b in full;  among the n best?  then a higher bar
//! ```
//!
//! An item is passed over only where its score is certain to be below the worst of the n best, so the
//! answers are those of `direct.rs` to the last bit. The certificate: by Cauchy–Schwarz
//!
//! ```text
//! |q·z − s_q s_z q̂·ẑ|  =  |e_q·z + s_q q̂·e_z|  ≤  ‖e_q‖ ‖z‖ + (‖q‖ + ‖e_q‖) ‖e_z‖
//! ```
//!
//! with the norms of what rounding really left; q̂·ẑ is exact. To this δ adds what floats do, with
//! ε = 2⁻²³ and Q = ‖q‖ + ‖e_q‖, Z = ‖z‖ + ‖e_z‖:
//!
//! ```text
//! (K / lanes + log₂ lanes + 1) ε Q Z + ε (Q Z + |b|)   the score itself: `dot`, then + b
//! 3 ε (Q Z + |b|)                                      v: q̂·ẑ to float, two products, + b, b to float32
//! ```
//!
//! together below (K + 16) ε (Q Z + |b|), and the smallest normal number for underflow. δ takes the
//! largest ‖z‖, ‖e_z‖ and |b| of a panel.
//!
//! 1. Items in descending order of b + ‖z‖·(mean ‖q‖): the bar rises early, few items pass it, and where
//!    max b + Q Z of a panel is below it, the whole panel is passed over.
//! 2. With that order ties need care: `Best` compares items too.
//! 3. Items that may not be shown to anyone are not packed at all.

use std::ops::Range;

use super::{Problem, best::Best};
use crate::buffer::Buffer;
use crate::bytes::{self, ITEM_LIMIT, Items, MOST_ITEMS, MOST_RANK, MOST_ROWS, Reached, Rows, Tile};
use crate::error::Result;
use crate::parallel::{Run, Shared};
use crate::score::dot;
use crate::simd::{Element, Isa, Kernel, Simd};

/// Queries of a task, a multiple of the rows of every tile.
const BATCH: usize = 96;

/// Items of a panel, a multiple of the items of every tile.
const PANEL: usize = 512;

/// The most that wait while the next tile is computed.
const MOST_WAITING: usize = 24;

/// Fewer queries do not pay for rounding the items.
const FEWEST_QUERIES: usize = 32;

/// Whether the filter is faster than scoring everything.
pub fn pays<T: Element>(p: &Problem<'_, T>) -> bool {
    p.r.candidates.is_none()
        && p.queries >= FEWEST_QUERIES
        && p.room * 16 <= p.items
        && p.r.rank <= MOST_RANK
}

/// What a panel's items have at most.
#[derive(Clone, Copy, Default)]
struct Panel {
    /// ‖z‖.
    norm: f64,
    /// ‖e_z‖.
    error: f64,
    /// |b|.
    size: f64,
    /// b.
    bias: f64,
}

/// The items, rounded, in tiles.
pub struct Packed {
    tile: Tile,
    /// Groups of four numbers in a row.
    steps: usize,
    /// The items by place.
    order: Vec<u32>,
    bytes: Buffer<u8>,
    /// One for every place, whole tiles of them.
    scale: Vec<f32>,
    bias: Vec<f32>,
    panels: Vec<Panel>,
}

impl Packed {
    /// Round and pack; none where a number is too large for the bounds, or not finite.
    pub fn new<T: Element>(isa: Isa, run: Run<'_>, p: &Problem<'_, T>) -> Result<Option<Packed>> {
        let Some(tile) = Tile::of(isa) else { return Ok(None) };
        let mut norms = vec![0.0; p.items];
        let shared = Shared::new(&mut norms);
        run.for_each(
            &panels_of(p.items),
            || (),
            |(), items| {
                // SAFETY: chunks are disjoint.
                let norms = unsafe { shared.range(items.clone()) };
                T::run(isa, Norms { p, items: items.clone(), norms });
                Ok(())
            },
        )?;
        let small = |b: &T| bytes::is_sane(b.to_f64().abs());
        let sane = norms.iter().all(|&norm| bytes::is_sane(norm))
            && p.r.item_bias.is_none_or(|bias| bias.iter().all(small));
        if !sane {
            return Ok(None);
        }
        let order = order_of(p, &norms);
        let steps = p.r.rank.div_ceil(4);
        let places = order.len().next_multiple_of(tile.items);
        let mut packed = Packed {
            tile,
            steps,
            bytes: Buffer::zeros(places * steps * 4),
            scale: vec![0.0; places],
            bias: vec![0.0; places],
            panels: vec![Panel::default(); order.len().div_ceil(PANEL)],
            order,
        };
        let order = &packed.order;
        let (bytes, scale) = (Shared::new(&mut packed.bytes), Shared::new(&mut packed.scale));
        let (bias, panels) = (Shared::new(&mut packed.bias), Shared::new(&mut packed.panels));
        run.for_each(
            &panels_of(order.len()),
            || vec![0; steps * 4],
            |row, places| {
                let (panel, order) = (places.start / PANEL, &order[places.clone()]);
                let places = places.start..places.end.next_multiple_of(tile.items);
                let numbers = places.start * steps * 4..places.end * steps * 4;
                // SAFETY: panels are whole tiles, and disjoint.
                let task = unsafe {
                    RoundPanel {
                        p,
                        tile,
                        order,
                        row,
                        bytes: bytes.range(numbers),
                        scale: scale.range(places.clone()),
                        bias: bias.range(places),
                        panel: &mut panels.range(panel..panel + 1)[0],
                    }
                };
                T::run(isa, task);
                Ok(())
            },
        )?;
        Ok(Some(packed))
    }
}

fn panels_of(length: usize) -> Vec<Range<usize>> {
    (0..length).step_by(PANEL).map(|at| at..(at + PANEL).min(length)).collect()
}

struct Norms<'a, T> {
    p: &'a Problem<'a, T>,
    items: Range<usize>,
    norms: &'a mut [f64],
}

impl<T: Element> Kernel<T> for Norms<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) {
        for (i, norm) in self.items.zip(self.norms) {
            *norm = bytes::norm_of(simd, self.p.item(i));
        }
    }
}

/// The items that may be shown, those first that a query of mean length may score highest.
fn order_of<T: Element>(p: &Problem<'_, T>, norms: &[f64]) -> Vec<u32> {
    let sample = p.queries.div_ceil(1000);
    let lengths = (0..p.queries)
        .step_by(sample)
        .map(|u| p.query(u).iter().map(|&x| x.to_f64() * x.to_f64()).sum::<f64>().sqrt())
        .filter(|length| length.is_finite());
    let (count, total) = lengths.fold((0.0, 0.0), |(count, total), x| (count + 1.0, total + x));
    let length = total / f64::max(count, 1.0);
    let mut order: Vec<u64> = (0..p.items)
        .filter(|&i| p.r.allow.is_none_or(|allow| allow[i]))
        .map(|i| {
            let bits = ((p.bias(i).to_f64() + length * norms[i]) as f32).to_bits();
            // Integers in the reverse order of the floats, then the item.
            let descending = if bits >> 31 == 0 { !bits & 0x7fff_ffff } else { bits };
            u64::from(descending) << 32 | i as u64
        })
        .collect();
    order.sort_unstable();
    order.into_iter().map(|key| key as u32).collect()
}

/// Round the items of a panel and lay them in tiles.
struct RoundPanel<'a, T> {
    p: &'a Problem<'a, T>,
    tile: Tile,
    order: &'a [u32],
    /// Room for one row.
    row: &'a mut [i8],
    bytes: &'a mut [u8],
    scale: &'a mut [f32],
    bias: &'a mut [f32],
    panel: &'a mut Panel,
}

impl<T: Element> Kernel<T> for RoundPanel<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) {
        let RoundPanel { p, tile, order, row, .. } = self;
        let mut most = Panel { bias: f64::NEG_INFINITY, ..Panel::default() };
        for (at, &i) in order.iter().enumerate() {
            if let Some(&next) = order.get(at + 4) {
                fetch(p.item(next as usize));
            }
            let found = bytes::round_row(simd, p.item(i as usize), ITEM_LIMIT, row);
            let bias = p.bias(i as usize).to_f64();
            (self.scale[at], self.bias[at]) = (found.scale, bias as f32);
            most = Panel {
                norm: most.norm.max(found.norm),
                error: most.error.max(found.error),
                size: most.size.max(bias.abs()),
                bias: most.bias.max(bias),
            };
            let lane = at / tile.items * tile.items * row.len() + at % tile.items * 4;
            for (step, four) in row.chunks_exact(4).enumerate() {
                let unsigned = [four[0], four[1], four[2], four[3]].map(|x| x as u8 ^ 0x80); // + 128
                self.bytes[lane + step * tile.items * 4..][..4].copy_from_slice(&unsigned);
            }
        }
        *self.panel = most;
    }
}

/// Rank the packed items for all queries.
pub fn rank<T: Element>(
    isa: Isa,
    run: Run<'_>,
    p: &Problem<'_, T>,
    packed: &Packed,
    index: &Shared<'_, i64>,
    score: &Shared<'_, T>,
) -> Result<()> {
    let batch = p.queries.div_ceil(run.threads()).next_multiple_of(packed.tile.rows).min(BATCH);
    let batches: Vec<_> = (0..p.queries).step_by(batch).map(|u| u..(u + batch).min(p.queries)).collect();
    run.for_each(
        &batches,
        || Scratch {
            bytes: vec![0; batch * packed.steps * 4],
            asked: vec![Query::default(); batch],
            best: (0..batch).map(|_| Best::new(p.room)).collect(),
            waiting: Vec::new(),
        },
        |scratch, queries| {
            let task = Batch { p, packed, queries: queries.clone(), run };
            T::run(isa, Ranked { task, scratch })?;
            for (best, u) in scratch.best.iter_mut().zip(queries.clone()) {
                // SAFETY: this query is this task's alone.
                unsafe { p.write(best, u, index, score) };
            }
            Ok(())
        },
    )
}

/// One query of a batch.
#[derive(Clone, Copy, Default)]
struct Query {
    rounded: bytes::Rounded,
    /// −128 Σ q̂.
    start: i32,
    /// How far v may be from the score, in this panel.
    off: f64,
}

/// An item that reached the bar of a query of the tile.
struct Waiting {
    row: usize,
    item: u32,
    value: f32,
}

struct Scratch<T> {
    bytes: Vec<i8>,
    asked: Vec<Query>,
    best: Vec<Best<T>>,
    waiting: Vec<Waiting>,
}

struct Batch<'a, T> {
    p: &'a Problem<'a, T>,
    packed: &'a Packed,
    queries: Range<usize>,
    run: Run<'a>,
}

struct Ranked<'a, T> {
    task: Batch<'a, T>,
    scratch: &'a mut Scratch<T>,
}

impl<T: Element> Kernel<T> for Ranked<'_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) -> Result<()> {
        self.task.rank(simd, self.scratch)
    }
}

impl<T: Element> Batch<'_, T> {
    #[inline(always)]
    fn rank<S: Simd<Elem = T>>(&self, simd: S, scratch: &mut Scratch<T>) -> Result<()> {
        let Packed { tile, steps, ref bytes, ref scale, ref bias, ref panels, .. } = *self.packed;
        let Scratch { bytes: rounded, asked, best, waiting } = scratch;
        let width = steps * 4;
        let ulps = (self.p.r.rank + 16) as f64 * f64::from(f32::EPSILON);
        for (at, u) in self.queries.clone().enumerate() {
            best[at].clear();
            let row = &mut rounded[at * width..(at + 1) * width];
            asked[at].rounded = bytes::round_row(simd, self.p.query(u), tile.query_limit, row);
            asked[at].start = -128 * row.iter().map(|&x| i32::from(x)).sum::<i32>();
        }
        let mut reached = Reached { items: [0; MOST_ROWS], value: [[0.0; MOST_ITEMS]; MOST_ROWS] };
        let mut active = [0_usize; BATCH];
        for (panel, most) in panels.iter().enumerate() {
            self.run.check()?;
            let mut count = 0;
            for at in 0..self.queries.len() {
                let q = &mut asked[at];
                let length = q.rounded.norm + q.rounded.error;
                let product = length * (most.norm + most.error);
                let floats = ulps * (product + most.size) + f64::from(f32::MIN_POSITIVE);
                q.off = if q.rounded.sane() {
                    q.rounded.error * most.norm + length * most.error + floats
                } else {
                    f64::INFINITY
                };
                active[count] = at;
                let none = |worst: T| q.rounded.sane() && product + most.bias + floats < worst.to_f64();
                count += usize::from(!best[at].bar().is_some_and(none));
            }
            let places = panel * PANEL..((panel + 1) * PANEL).min(self.packed.order.len());
            for chosen in active[..count].chunks(tile.rows) {
                // A row without a query has an unreachable bar.
                let mut rows = Rows {
                    bytes: [rounded.as_ptr(); MOST_ROWS],
                    start: [0; MOST_ROWS],
                    scale: [0.0; MOST_ROWS],
                    bar: [f32::INFINITY; MOST_ROWS],
                };
                for (row, &at) in chosen.iter().enumerate() {
                    rows.bytes[row] = rounded[at * width..(at + 1) * width].as_ptr();
                    rows.start[row] = asked[at].start;
                    rows.scale[row] = asked[at].rounded.scale;
                    rows.bar[row] = bar_of(&best[at], asked[at].off);
                }
                for first in places.clone().step_by(tile.items) {
                    let items = Items {
                        bytes: bytes[first * width..(first + tile.items) * width].as_ptr(),
                        scale: scale[first..first + tile.items].as_ptr(),
                        bias: bias[first..first + tile.items].as_ptr(),
                        steps,
                    };
                    // SAFETY: every row has `width` bytes, and the tile was just cut out whole.
                    let any = unsafe { tile.run(&rows, items, &mut reached) };
                    if !waiting.is_empty() {
                        self.settle(simd, waiting, &mut rows, chosen, asked, best);
                    }
                    if any {
                        self.collect(first, &reached, chosen, waiting);
                    }
                    // While bars are low much waits, and raises them.
                    if waiting.len() > MOST_WAITING {
                        self.settle(simd, waiting, &mut rows, chosen, asked, best);
                    }
                }
                self.settle(simd, waiting, &mut rows, chosen, asked, best);
            }
        }
        Ok(())
    }

    /// Note what reached its bar in the tile of items from `first` on, and have their factors fetched.
    #[inline(always)]
    fn collect(&self, first: usize, reached: &Reached, chosen: &[usize], waiting: &mut Vec<Waiting>) {
        for row in 0..chosen.len() {
            let mut left = reached.items[row];
            while left != 0 {
                let lane = left.trailing_zeros() as usize;
                left &= left - 1;
                if let Some(&item) = self.packed.order.get(first + lane) {
                    fetch(self.p.item(item as usize));
                    waiting.push(Waiting { row, item, value: reached.value[row][lane] });
                }
            }
        }
    }

    /// Score what waits, and hold what is among the best.
    #[inline(always)]
    fn settle<S: Simd<Elem = T>>(
        &self,
        simd: S,
        waiting: &mut Vec<Waiting>,
        rows: &mut Rows,
        chosen: &[usize],
        asked: &[Query],
        best: &mut [Best<T>],
    ) {
        for &Waiting { row, item, value } in waiting.iter() {
            let at = chosen[row];
            let u = self.queries.start + at;
            // The bar may have risen since.
            if value < rows.bar[row] || self.p.excluded(u).binary_search(&item).is_ok() {
                continue;
            }
            let score =
                dot(simd, self.p.query(u), self.p.item(item as usize)) + self.p.bias(item as usize);
            if best[at].wants(score, item) {
                best[at].insert(score, item);
                rows.bar[row] = bar_of(&best[at], asked[at].off);
            }
        }
        waiting.clear();
    }
}

/// Ask for a row to be brought near.
#[inline(always)]
fn fetch<T>(row: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in row.chunks(64 / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which every x86-64 has; it reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = row;
}

/// What v must reach where it may be `off` from the score, rounded down.
#[inline(always)]
fn bar_of<T: Element>(best: &Best<T>, off: f64) -> f32 {
    let bar = best.bar().map_or(f32::NEG_INFINITY, |worst| ((worst.to_f64() - off) as f32).next_down());
    bar.max(f32::NEG_INFINITY) // where ∞ − ∞ is NaN
}
