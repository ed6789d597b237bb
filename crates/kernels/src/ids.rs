//! Integer ids as row numbers: the distinct ids in ascending order, and the position of each among them.
//!
//! ```text
//! lowest and highest id → moderately many numbers between them?
//!   yes: a bit for each, set where the id occurs → ids before each word of 64 bits → position of a cell
//!   no:  a hash set for each part → the sets sorted and merged → a hash table of positions → cells
//! ```
//!
//! The bits and counts of a million possible ids take 192 kB, so that looking up stays in the cache.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::csr::radix_sort;
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared};

/// Ids of 32 or 64 bits.
pub trait Integer: Copy + Ord + Send + Sync {
    /// The same number, of 64 bits.
    fn wide(self) -> i64;
}

impl Integer for i32 {
    #[inline(always)]
    fn wide(self) -> i64 {
        i64::from(self)
    }
}

impl Integer for i64 {
    #[inline(always)]
    fn wide(self) -> i64 {
        self
    }
}

/// (distinct ids ascending, the position of every cell's id among them).
pub type Factorized = (Vec<i64>, Vec<u32>);

/// Cells between two looks at the flag to stop.
const BLOCK: usize = 1 << 18;
/// Bits are chosen where there are at most so many of them to a cell (or to a table of this size).
const BITS_PER_CELL: usize = 16;
const SMALL: usize = 1 << 20;

/// Number the distinct values of `values` in ascending order.
///
/// # Errors
/// `Error::Contract` where more than 2³² − 1 are distinct, `Error::Cancelled`.
pub fn factorize<I: Integer>(run: Run<'_>, values: &[I]) -> Result<Factorized> {
    let Some((low, high)) = extremes(run, values)? else {
        return Ok((Vec::new(), Vec::new()));
    };
    let most = values.len().saturating_mul(BITS_PER_CELL).max(SMALL) as u64;
    if high.wrapping_sub(low).cast_unsigned() < most {
        by_bits(run, values, low, high.wrapping_sub(low).cast_unsigned())
    } else {
        by_hash(run, values)
    }
}

fn blocks(cells: usize) -> Vec<Range<usize>> {
    (0..cells).step_by(BLOCK).map(|start| start..(start + BLOCK).min(cells)).collect()
}

fn extremes<I: Integer>(run: Run<'_>, values: &[I]) -> Result<Option<(i64, i64)>> {
    let Some(first) = values.first() else {
        return Ok(None);
    };
    let whole = Mutex::new((*first, *first));
    run.for_each(
        &blocks(values.len()),
        || (),
        |(), block| {
            let (mut low, mut high) = (*first, *first);
            for &value in &values[block.clone()] {
                (low, high) = (low.min(value), high.max(value));
            }
            let mut whole = locked(&whole)?;
            *whole = (whole.0.min(low), whole.1.max(high));
            Ok(())
        },
    )?;
    let (low, high) = *locked(&whole)?;
    Ok(Some((low.wide(), high.wide())))
}

fn locked<T>(mutex: &Mutex<T>) -> Result<std::sync::MutexGuard<'_, T>> {
    mutex.lock().map_err(|_| Error::contract("another thread has panicked"))
}

#[allow(clippy::cast_possible_truncation)] // spans and counts are checked before
fn by_bits<I: Integer>(run: Run<'_>, values: &[I], low: i64, span: u64) -> Result<Factorized> {
    let words: Vec<AtomicU64> = (0..=span / 64).map(|_| AtomicU64::new(0)).collect();
    let bit_of = |value: I| {
        let shifted = value.wide().wrapping_sub(low).cast_unsigned();
        ((shifted / 64) as usize, 1_u64 << (shifted % 64))
    };
    let blocks = blocks(values.len());
    run.for_each(
        &blocks,
        || (),
        |(), block| {
            for &value in &values[block.clone()] {
                let (word, bit) = bit_of(value);
                // Most ids have been met before: reading leaves the word in the caches of all cores.
                if words[word].load(Ordering::Relaxed) & bit == 0 {
                    words[word].fetch_or(bit, Ordering::Relaxed);
                }
            }
            Ok(())
        },
    )?;
    let words: Vec<u64> = words.into_iter().map(AtomicU64::into_inner).collect();
    let mut distinct = Vec::new();
    let mut before = Vec::with_capacity(words.len());
    for (k, &word) in words.iter().enumerate() {
        if k.is_multiple_of(BLOCK) {
            run.check()?;
        }
        before.push(u32::try_from(distinct.len()).map_err(|_| too_many())?);
        let mut rest = word;
        while rest != 0 {
            let shifted = k as u64 * 64 + u64::from(rest.trailing_zeros());
            distinct.push(low.wrapping_add(shifted.cast_signed()));
            rest &= rest - 1;
        }
    }
    u32::try_from(distinct.len()).map_err(|_| too_many())?;
    let codes = numbered(run, values, |value| {
        let (word, bit) = bit_of(value);
        before[word] + (words[word] & (bit - 1)).count_ones()
    })?;
    Ok((distinct, codes))
}

#[allow(clippy::cast_possible_truncation)] // as above
fn by_hash<I: Integer>(run: Run<'_>, values: &[I]) -> Result<Factorized> {
    let each = values.len().div_ceil(run.threads());
    let parts: Vec<_> =
        (0..values.len()).step_by(each).map(|k| k..(k + each).min(values.len())).collect();
    let found = Mutex::new(Vec::new());
    run.for_each(
        &parts,
        || (),
        |(), part| {
            let mut set = Table::with_room_for(0);
            for block in values[part.clone()].chunks(BLOCK) {
                run.check()?;
                for &value in block {
                    set.insert(value.wide(), 0);
                }
            }
            let mut own: Vec<u64> = set.keys().into_iter().map(in_order).collect();
            radix_sort(run, &mut own, &mut Vec::new(), 0..u64::BITS)?; // stops when told
            locked(&found)?.push(own);
            Ok(())
        },
    )?;
    let mut distinct = locked(&found)?.concat();
    run.check()?;
    distinct.sort(); // a merge: its runs are found
    distinct.dedup();
    run.check()?;
    u32::try_from(distinct.len()).map_err(|_| too_many())?;
    let distinct: Vec<i64> = distinct.into_iter().map(from_order).collect();
    let mut table = Table::with_room_for(distinct.len());
    for (code, &id) in distinct.iter().enumerate() {
        if code.is_multiple_of(BLOCK) {
            run.check()?;
        }
        table.insert(id, code as u32);
    }
    let codes = numbered(run, values, |value| table.get(value.wide()))?;
    Ok((distinct, codes))
}

/// The number without a sign that stands in the same order.
fn in_order(id: i64) -> u64 {
    id.wrapping_sub(i64::MIN).cast_unsigned()
}

/// The inverse of `in_order`.
fn from_order(number: u64) -> i64 {
    number.cast_signed().wrapping_add(i64::MIN)
}

fn too_many() -> Error {
    Error::contract("more than 2³² − 1 distinct ids")
}

/// The number of every cell.
fn numbered<I: Integer>(
    run: Run<'_>,
    values: &[I],
    number: impl Fn(I) -> u32 + Sync,
) -> Result<Vec<u32>> {
    let mut codes = vec![0; values.len()];
    {
        let shared = Shared::new(&mut codes);
        run.for_each(
            &blocks(values.len()),
            || (),
            |(), block| {
                // SAFETY: blocks are disjoint.
                let own = unsafe { shared.range(block.clone()) };
                for (code, &value) in own.iter_mut().zip(&values[block.clone()]) {
                    *code = number(value);
                }
                Ok(())
            },
        )?;
    }
    Ok(codes)
}

/// A hash table with open addressing, from ids to numbers; a quarter to a half full where it has grown.
struct Table {
    slots: Vec<(i64, u32)>,
    used: usize,
    shift: u32,
    /// The number of the id that marks an empty slot.
    marked: Option<u32>,
}

const EMPTY: i64 = i64::MIN;

impl Table {
    fn with_room_for(ids: usize) -> Self {
        let slots = (2 * ids).max(1 << 10).next_power_of_two();
        Table {
            slots: vec![(EMPTY, 0); slots],
            used: 0,
            shift: 64 - slots.trailing_zeros(),
            marked: None,
        }
    }

    /// Where an id is, or the empty slot where it belongs.
    #[inline(always)]
    fn slot(&self, id: i64) -> usize {
        let mut mixed = id.cast_unsigned();
        mixed = (mixed ^ mixed >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        mixed = (mixed ^ mixed >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut slot = (mixed >> self.shift) as usize;
        while self.slots[slot].0 != id && self.slots[slot].0 != EMPTY {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        slot
    }

    fn insert(&mut self, id: i64, number: u32) {
        if id == EMPTY {
            self.marked = Some(number);
            return;
        }
        let slot = self.slot(id);
        if self.slots[slot].0 == id {
            return;
        }
        self.slots[slot] = (id, number);
        self.used += 1;
        if 2 * self.used > self.slots.len() {
            let old = std::mem::replace(self, Table::with_room_for(self.used)); // twice the slots
            self.marked = old.marked;
            for (id, number) in old.slots.into_iter().filter(|slot| slot.0 != EMPTY) {
                self.insert(id, number);
            }
        }
    }

    /// The number of an id that has been inserted.
    #[inline(always)]
    fn get(&self, id: i64) -> u32 {
        match self.marked {
            Some(number) if id == EMPTY => number,
            _ => self.slots[self.slot(id)].1,
        }
    }

    fn keys(self) -> Vec<i64> {
        let marked = self.marked.map(|_| EMPTY);
        self.slots.into_iter().map(|slot| slot.0).filter(|&id| id != EMPTY).chain(marked).collect()
    }
}
