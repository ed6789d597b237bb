//! Sorting cells by row and column, and transposing them: one pass into buckets, one sort of each.
//!
//! ```text
//! key of a cell = row · 2ᶜ + column;  a bucket is a range of keys, its cells fit the cache
//! count the cells of each part of the table in each bucket → offsets → scatter (part by part)
//! → sort every bucket by radix → emit rows, columns, payloads
//! ```
//!
//! A record is what is left of the key within its bucket, above the payload, in one integer (64 bits,
//! or 128 where ids and cells are that many). The payload is the old position of the cell, or its
//! value. Every step is stable: equal pairs keep their old order, and no scheduling of threads can show. Long rows and popular
//! columns are cut into buckets like all others. Cells that stand in order already are only looked at.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cells::{Cells, row_of};
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared};

/// Cells by row, columns ascending.
#[derive(Debug, PartialEq, Eq)]
pub struct Sorted {
    /// Offsets by row.
    pub indptr: Vec<i64>,
    /// (columns, the old position of every cell); none where the cells stood in this order before.
    pub moved: Option<(Vec<u32>, Vec<u32>)>,
    /// The number of cells whose pair stands before them too.
    pub repeats: usize,
}

/// Cells by column: offsets, rows, values and weights.
pub type Transposed = (Vec<i64>, Vec<u32>, Vec<f32>, Option<Vec<f32>>);

/// Cells of a part of the table: what a thread does between two looks at the flag to stop.
const PART: usize = 1 << 18;
const MOST_PARTS: usize = 256;
/// Cells of a bucket, about: its records and their copy fit the cache of a core.
const BUCKET: usize = 1 << 14;
const MOST_BUCKETS: usize = 1 << 12;
/// Digits of the radix sort.
const DIGIT: u32 = 11;
/// Below this a comparison sort is faster.
const FEW: usize = 256;

/// Order (row, column) pairs by row, then by column, equal pairs in their old order.
///
/// # Errors
/// `Error::Contract` where an index is out of range, `Error::Cancelled`.
pub fn sort_pairs(
    run: Run<'_>,
    rows: &[u32],
    columns: &[u32],
    n_rows: usize,
    n_columns: usize,
) -> Result<Sorted> {
    if rows.len() != columns.len() {
        return Err(Error::contract("rows and columns differ in length"));
    }
    let pairs = Pairs { rows, columns };
    let plan = Plan::new(rows.len(), n_rows, n_columns)?;
    let mut indptr = zeros(n_rows.saturating_add(1))?;
    if is_ascending(run, &pairs)? {
        let repeats = offsets_in_order(run, &plan, &pairs, &mut indptr)?;
        return Ok(Sorted { indptr, moved: None, repeats });
    }
    let mut indices = vec![0; rows.len()];
    let mut order = vec![0; rows.len()];
    let repeats = {
        let (indices, order) = (Shared::new(&mut indices), Shared::new(&mut order));
        plan.sort(run, &pairs, &mut indptr, |place, column, position| {
            // SAFETY: `sort` gives every place once.
            unsafe {
                indices.range(place..place + 1)[0] = column;
                order.range(place..place + 1)[0] = position;
            }
        })?
    };
    Ok(Sorted { indptr, moved: Some((indices, order)), repeats })
}

/// The same cells by column.
///
/// # Errors
/// `Error::Contract`, `Error::Cancelled`.
pub fn transpose(run: Run<'_>, cells: &Cells<'_>, n_columns: usize) -> Result<Transposed> {
    cells.check()?;
    let n = cells.indices.len();
    if u32::try_from(cells.rows()).is_err() {
        return Err(Error::contract("more than 2³² − 1 rows"));
    }
    let mut plan = Plan::new(n, n_columns, cells.rows())?;
    plan.ordered = plan.column_bits.min(plan.shift); // rows come in order
    let mut indptr = zeros(n_columns.saturating_add(1))?;
    let (mut rows, mut values) = (vec![0; n], vec![0.0; n]);
    let Some(from) = cells.weights else {
        plan.payload_bits = u32::BITS;
        let (to_rows, to_values) = (Shared::new(&mut rows), Shared::new(&mut values));
        let source = ByColumn { cells, payload: |p: usize| cells.values[p].to_bits() };
        plan.sort(run, &source, &mut indptr, |place, row, value| {
            // SAFETY: `sort` gives every place once.
            unsafe {
                to_rows.range(place..place + 1)[0] = row;
                to_values.range(place..place + 1)[0] = f32::from_bits(value);
            }
        })?;
        return Ok((indptr, rows, values, None));
    };
    let mut weights = vec![0.0; n];
    let (to_rows, to_values) = (Shared::new(&mut rows), Shared::new(&mut values));
    let to_weights = Shared::new(&mut weights);
    #[allow(clippy::cast_possible_truncation)] // `Plan::new` has checked that positions fit 32 bits
    let source = ByColumn { cells, payload: |p: usize| p as u32 };
    plan.sort(run, &source, &mut indptr, |place, row, position| {
        // SAFETY: `sort` gives every place once.
        unsafe {
            to_rows.range(place..place + 1)[0] = row;
            to_values.range(place..place + 1)[0] = cells.values[position as usize];
            to_weights.range(place..place + 1)[0] = from[position as usize];
        }
    })?;
    Ok((indptr, rows, values, Some(weights)))
}

// ------------------------------------------------------------------------------- sources

/// Cells to be sorted.
trait Source: Sync {
    fn len(&self) -> usize;
    /// Call `see(row, column, payload)` for the cells of a range, in their order.
    fn visit(&self, range: Range<usize>, see: impl FnMut(u32, u32, u32));
}

struct Pairs<'a> {
    rows: &'a [u32],
    columns: &'a [u32],
}

impl Source for Pairs<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    #[allow(clippy::cast_possible_truncation)] // `Plan::new` has checked that positions fit 32 bits
    fn visit(&self, range: Range<usize>, mut see: impl FnMut(u32, u32, u32)) {
        let pairs = self.rows[range.clone()].iter().zip(&self.columns[range.clone()]);
        for (position, (&row, &column)) in range.zip(pairs) {
            see(row, column, position as u32);
        }
    }
}

/// Compressed rows with the sides exchanged; the payload is the position of a cell, or what
/// stands there.
struct ByColumn<'a, F> {
    cells: &'a Cells<'a>,
    payload: F,
}

impl<F: Fn(usize) -> u32 + Sync> Source for ByColumn<'_, F> {
    fn len(&self) -> usize {
        self.cells.indices.len()
    }

    #[allow(clippy::cast_possible_truncation)] // `transpose` has checked that rows fit 32 bits
    fn visit(&self, range: Range<usize>, mut see: impl FnMut(u32, u32, u32)) {
        let Cells { indptr, indices, .. } = *self.cells;
        let mut u = indptr.partition_point(|&start| start <= range.start as i64).saturating_sub(1);
        let mut position = range.start;
        while position < range.end {
            let end = row_of(indptr, u).end.min(range.end);
            for p in position..end {
                see(indices[p], u as u32, (self.payload)(p));
            }
            (position, u) = (end, u + 1);
        }
    }
}

// ----------------------------------------------------------------------------- the sort

/// A record of 64 or 128 bits: the rest of the key above the payload.
pub(crate) trait Record: Copy + Ord + Send + Sync {
    fn new(high: u64, payload: u32, payload_bits: u32) -> Self;
    fn high(self, payload_bits: u32) -> u64;
    fn payload(self, payload_bits: u32) -> u32;
    fn zeros(n: usize) -> Vec<Self>;
}

macro_rules! record {
    ($type:ty) => {
        #[allow(clippy::cast_possible_truncation, clippy::cast_lossless)]
        impl Record for $type {
            #[inline(always)]
            fn new(high: u64, payload: u32, payload_bits: u32) -> Self {
                (high as $type) << payload_bits | payload as $type
            }
            #[inline(always)]
            fn high(self, payload_bits: u32) -> u64 {
                (self >> payload_bits) as u64
            }
            #[inline(always)]
            fn payload(self, payload_bits: u32) -> u32 {
                (self & (((1 as $type) << payload_bits) - 1)) as u32
            }
            fn zeros(n: usize) -> Vec<Self> {
                vec![0; n]
            }
        }
    };
}

record!(u64);
record!(u128);

/// How the cells of a table are cut into buckets.
struct Plan {
    n_rows: usize,
    n_columns: usize,
    column_bits: u32,
    payload_bits: u32,
    /// The keys of a bucket are equal from this bit on.
    shift: u32,
    buckets: usize,
    /// The cells come in ascending order of this many bits of the key already.
    ordered: u32,
}

impl Plan {
    fn new(cells: usize, n_rows: usize, n_columns: usize) -> Result<Self> {
        if u32::try_from(cells).is_err() {
            return Err(Error::contract("more than 2³² − 1 cells"));
        }
        // An index has 32 bits, so that further rows and columns have no cells.
        let last = |n: usize| n.saturating_sub(1).min(u32::MAX as usize) as u64;
        let column_bits = bits(last(n_columns));
        let largest = last(n_rows) << column_bits | ((1 << column_bits) - 1);
        let wanted = (cells / BUCKET + 1).next_power_of_two().min(MOST_BUCKETS);
        let shift = bits(largest).saturating_sub(wanted.trailing_zeros());
        let buckets = above(largest, shift) + 1;
        let payload_bits = bits(cells as u64);
        Ok(Plan { n_rows, n_columns, column_bits, payload_bits, shift, buckets, ordered: 0 })
    }

    #[inline(always)]
    fn key(&self, row: u32, column: u32) -> u64 {
        u64::from(row) << self.column_bits | u64::from(column)
    }

    /// Sort the cells: `emit(place, column, payload)` for each. Returns the number of repeats.
    fn sort(
        &self,
        run: Run<'_>,
        source: &impl Source,
        indptr: &mut [i64],
        emit: impl Fn(usize, u32, u32) + Sync,
    ) -> Result<usize> {
        if self.shift + self.payload_bits <= 64 {
            self.sort_as::<u64>(run, source, indptr, emit)
        } else {
            self.sort_as::<u128>(run, source, indptr, emit)
        }
    }

    fn sort_as<R: Record>(
        &self,
        run: Run<'_>,
        source: &impl Source,
        indptr: &mut [i64],
        emit: impl Fn(usize, u32, u32) + Sync,
    ) -> Result<usize> {
        let (starts, mut records) = self.scatter::<R>(run, source)?;
        let mut buckets: Vec<_> = starts.windows(2).map(|w| Stretch::new(w[0]..w[1])).collect();
        let shared = Shared::new(&mut records);
        fill_offsets(run, &mut buckets, indptr, Vec::new, |spare, number, bucket, indptr| {
            // SAFETY: buckets are disjoint.
            let own = unsafe { shared.range(bucket.cells.clone()) };
            let lowest = self.payload_bits + self.ordered;
            radix_sort(run, own, spare, lowest..self.payload_bits + self.shift)?;
            // A shift of 64 leaves one bucket, number 0.
            let base = (number as u64).checked_shl(self.shift).unwrap_or(0);
            let mut before = None;
            for (place, record) in bucket.cells.clone().zip(&*own) {
                let key = base | record.high(self.payload_bits);
                bucket.repeats += usize::from(before == Some(key));
                before = Some(key);
                let row = (key >> self.column_bits) as u32;
                let column = (key & ((1 << self.column_bits) - 1)) as u32;
                bucket.enter(row, place, indptr);
                emit(place, column, record.payload(self.payload_bits));
            }
            Ok(())
        })
    }

    /// The records of all cells, bucket by bucket, and where each bucket begins.
    fn scatter<R: Record>(&self, run: Run<'_>, source: &impl Source) -> Result<(Vec<usize>, Vec<R>)> {
        let parts: Vec<_> = parts(source.len()).into_iter().enumerate().collect();
        let places = |part: usize| part * self.buckets..(part + 1) * self.buckets;
        let mut next = vec![0_usize; parts.len() * self.buckets];
        {
            let next = Shared::new(&mut next);
            run.for_each(
                &parts,
                || (),
                |(), (part, cells)| {
                    // SAFETY: every part has counters of its own.
                    let counts = unsafe { next.range(places(*part)) };
                    let (mut last_row, mut last_column) = (0, 0);
                    source.visit(cells.clone(), |row, column, _| {
                        (last_row, last_column) = (last_row.max(row), last_column.max(column));
                        // Beyond the buckets only where an index is out of range.
                        if let Some(count) = counts.get_mut(above(self.key(row, column), self.shift)) {
                            *count += 1;
                        }
                    });
                    check_index(last_row, self.n_rows)?;
                    check_index(last_column, self.n_columns)
                },
            )?;
        }
        let mut starts = Vec::with_capacity(self.buckets + 1);
        let mut sum = 0;
        for bucket in 0..self.buckets {
            starts.push(sum);
            for part in 0..parts.len() {
                let count = &mut next[part * self.buckets + bucket];
                (*count, sum) = (sum, sum + *count);
            }
        }
        starts.push(sum);
        let mut records = R::zeros(source.len());
        {
            let (next, records) = (Shared::new(&mut next), Shared::new(&mut records));
            // The bits above the shift are the bucket's number.
            let rest = if self.shift >= 64 { u64::MAX } else { (1 << self.shift) - 1 };
            run.for_each(
                &parts,
                || (),
                |(), (part, cells)| {
                    // SAFETY: every part has counters of its own.
                    let next = unsafe { next.range(places(*part)) };
                    source.visit(cells.clone(), |row, column, payload| {
                        let key = self.key(row, column);
                        let place = &mut next[above(key, self.shift)];
                        let record = R::new(key & rest, payload, self.payload_bits);
                        // SAFETY: the counts of the first pass give every place to one cell.
                        unsafe { records.range(*place..*place + 1)[0] = record };
                        *place += 1;
                    });
                    Ok(())
                },
            )?;
        }
        Ok((starts, records))
    }
}

/// Sort records, of which the bits below `digits` ascend among equals already.
pub(crate) fn radix_sort<R: Record>(
    run: Run<'_>,
    records: &mut [R],
    spare: &mut Vec<R>,
    digits: Range<u32>,
) -> Result<()> {
    if digits.is_empty() || records.is_sorted() {
        return Ok(());
    }
    if records.len() < FEW {
        records.sort_by_key(|record| record.high(digits.start));
        return Ok(());
    }
    let bits = digits.end - digits.start;
    let width = bits.div_ceil(bits.div_ceil(DIGIT));
    if spare.len() < records.len() {
        *spare = R::zeros(records.len());
    }
    let spare = &mut spare[..records.len()];
    let mut swapped = false;
    for low in digits.step_by(width as usize) {
        let digit = |record: R| (record.high(low) & ((1 << width) - 1)) as usize;
        let (from, to) = if swapped { (&*spare, &mut *records) } else { (&*records, &mut *spare) };
        let mut next = [0_usize; 1 << DIGIT];
        for block in from.chunks(PART) {
            run.check()?;
            block.iter().for_each(|&record| next[digit(record)] += 1);
        }
        if next[digit(from[0])] == from.len() {
            continue;
        }
        let mut sum = 0;
        for count in &mut next {
            (*count, sum) = (sum, sum + *count);
        }
        for block in from.chunks(PART) {
            run.check()?;
            for &record in block {
                let place = &mut next[digit(record)];
                to[*place] = record;
                *place += 1;
            }
        }
        swapped = !swapped;
    }
    if swapped {
        records.copy_from_slice(spare);
    }
    Ok(())
}

// ------------------------------------------------------------------------------ offsets

/// Cells in their final order that one thread walks along.
struct Stretch {
    cells: Range<usize>,
    /// The first and the last row that has a cell here.
    rows: Option<(u32, u32)>,
    repeats: usize,
}

impl Stretch {
    fn new(cells: Range<usize>) -> Self {
        Stretch { cells, rows: None, repeats: 0 }
    }

    /// Note that the cell at `place` is of `row`: rows that begin inside the stretch begin there.
    #[inline(always)]
    fn enter(&mut self, row: u32, place: usize, indptr: &Shared<'_, i64>) {
        match &mut self.rows {
            None => self.rows = Some((row, row)),
            Some((_, last)) if *last != row => {
                // SAFETY: stretches ascend, so that no other one has a row from `last + 1` to `row`
                // that is not its first; those are left to `fill_offsets`.
                unsafe { indptr.range(*last as usize + 1..row as usize + 1) }.fill(place as i64);
                *last = row;
            }
            Some(_) => {}
        }
    }
}

/// Let threads walk along stretches that follow each other, and fill the offsets of all rows. Returns
/// the number of repeats. `walk(scratch, number, stretch, indptr)` enters every cell of a stretch.
fn fill_offsets<X>(
    run: Run<'_>,
    stretches: &mut [Stretch],
    indptr: &mut [i64],
    scratch: impl Fn() -> X + Sync,
    walk: impl Fn(&mut X, usize, &mut Stretch, &Shared<'_, i64>) -> Result<()> + Sync,
) -> Result<usize> {
    let mut longest_first: Vec<_> = (0..stretches.len()).collect();
    longest_first.sort_by_key(|&k| std::cmp::Reverse(stretches[k].cells.len()));
    {
        let (shared, indptr) = (Shared::new(&mut *stretches), Shared::new(&mut *indptr));
        run.for_each(&longest_first, scratch, |own, &k| {
            // SAFETY: every stretch is walked along once.
            walk(own, k, unsafe { &mut shared.range(k..k + 1)[0] }, &indptr)
        })?;
    }
    let (mut begun, mut cells, mut repeats) = (0, 0, 0);
    for stretch in stretches {
        if let Some((first, last)) = stretch.rows {
            let next = first as usize + 1;
            if next > begun {
                indptr[begun..next].fill(stretch.cells.start as i64);
            }
            begun = last as usize + 1;
        }
        cells = stretch.cells.end;
        repeats += stretch.repeats;
    }
    indptr[begun..].fill(cells as i64);
    Ok(repeats)
}

/// Whether the pairs ascend.
fn is_ascending(run: Run<'_>, pairs: &Pairs<'_>) -> Result<bool> {
    let descends = AtomicBool::new(false);
    run.for_each(
        &parts(pairs.len()),
        || (),
        |(), part| {
            let from = part.start.saturating_sub(1);
            let (rows, columns) = (&pairs.rows[from..part.end], &pairs.columns[from..part.end]);
            if !descends.load(Ordering::Relaxed) {
                let mut together = rows.windows(2).zip(columns.windows(2));
                if !together.all(|(r, c)| r[0] < r[1] || r[0] == r[1] && c[0] <= c[1]) {
                    descends.store(true, Ordering::Relaxed);
                }
            }
            Ok(())
        },
    )?;
    Ok(!descends.into_inner())
}

/// The offsets of pairs that ascend, and the number of repeats.
fn offsets_in_order(run: Run<'_>, plan: &Plan, pairs: &Pairs<'_>, indptr: &mut [i64]) -> Result<usize> {
    if let Some(&last) = pairs.rows.last() {
        check_index(last, plan.n_rows)?;
    }
    let mut stretches: Vec<_> = parts(pairs.len()).into_iter().map(Stretch::new).collect();
    fill_offsets(
        run,
        &mut stretches,
        indptr,
        || (),
        |(), _, stretch, indptr| {
            let cells = stretch.cells.clone();
            let mut before = cells.start.checked_sub(1).map(|p| (pairs.rows[p], pairs.columns[p]));
            let mut last_column = 0;
            pairs.visit(cells, |row, column, place| {
                stretch.repeats += usize::from(before == Some((row, column)));
                before = Some((row, column));
                last_column = last_column.max(column);
                stretch.enter(row, place as usize, indptr);
            });
            check_index(last_column, plan.n_columns)
        },
    )
}

// ------------------------------------------------------------------------------- helpers

/// Cells in parts of about equal size.
fn parts(cells: usize) -> Vec<Range<usize>> {
    let each = cells.div_ceil(MOST_PARTS).max(PART);
    (0..cells).step_by(each).map(|start| start..(start + each).min(cells)).collect()
}

fn check_index(index: u32, count: usize) -> Result<()> {
    if (index as usize) < count {
        return Ok(());
    }
    Err(Error::contract(format!("index {index} is out of range, there are {count}")))
}

/// How many bits a number has.
fn bits(number: u64) -> u32 {
    u64::BITS - number.leading_zeros()
}

/// The bits of a key from this one on.
#[inline(always)]
fn above(key: u64, shift: u32) -> usize {
    if shift >= 64 { 0 } else { (key >> shift) as usize }
}

/// So many zeros, or an error where there is no memory for them: the rows are not bounded by the cells.
fn zeros(count: usize) -> Result<Vec<i64>> {
    let mut found = Vec::new();
    found
        .try_reserve_exact(count)
        .map_err(|_| Error::contract(format!("there is no memory for {count} offsets")))?;
    found.resize(count, 0);
    Ok(found)
}
