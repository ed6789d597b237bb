//! Sorting cells by row and column, and transposing them: counting sorts, linear in the cells.
//!
//! ```text
//! by column: count, offsets, place;  then by row: count, offsets, place   (each pass is stable)
//! ```

use crate::cells::{check_offsets, row_of};
use crate::error::{Error, Result};
use crate::parallel::Run;

/// (offsets by row, columns, the old position of every cell).
pub type Sorted = (Vec<i64>, Vec<u32>, Vec<i64>);

const CHECK_EVERY: usize = 1 << 22;

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
    let (_, by_column) = counting_sort(run, columns, n_columns, 0..rows.len())?;
    let (indptr, order) = counting_sort(run, rows, n_rows, by_column.into_iter().map(to_index))?;
    let indices = order.iter().map(|&old| columns[to_index(old)]).collect();
    Ok((indptr, indices, order))
}

/// The same cells by column: (offsets by column, rows, the old position of every cell).
///
/// # Errors
/// `Error::Contract`, `Error::Cancelled`.
pub fn transpose(run: Run<'_>, indptr: &[i64], indices: &[u32], n_columns: usize) -> Result<Sorted> {
    check_offsets(indptr, indices.len())?;
    let (offsets, order) = counting_sort(run, indices, n_columns, 0..indices.len())?;
    let mut row_of_cell = vec![0_u32; indices.len()];
    for u in 0..indptr.len() - 1 {
        let row = u32::try_from(u).map_err(|_| Error::contract("more than 2³² rows"))?;
        row_of_cell[row_of(indptr, u)].fill(row);
    }
    let rows = order.iter().map(|&old| row_of_cell[to_index(old)]).collect();
    Ok((offsets, rows, order))
}

/// A stable counting sort of `keys`, visited in the order `visit`: (offsets by key, positions).
fn counting_sort(
    run: Run<'_>,
    keys: &[u32],
    n_keys: usize,
    visit: impl Iterator<Item = usize>,
) -> Result<(Vec<i64>, Vec<i64>)> {
    let mut offsets = zeros(n_keys.saturating_add(1))?;
    for &key in keys {
        let place = offsets.get_mut(key as usize + 1).ok_or_else(|| {
            Error::contract(format!("index {key} is out of range, there are {n_keys}"))
        })?;
        *place += 1;
    }
    for key in 0..n_keys {
        offsets[key + 1] += offsets[key];
    }
    let mut next = zeros(offsets.len())?;
    next.copy_from_slice(&offsets);
    let mut order = vec![0_i64; keys.len()];
    for (done, position) in visit.enumerate() {
        if done % CHECK_EVERY == 0 {
            run.check()?;
        }
        let place = &mut next[keys[position] as usize];
        order[to_index(*place)] = i64::try_from(position).unwrap_or(i64::MAX);
        *place += 1;
    }
    Ok((offsets, order))
}

/// So many zeros, or an error where there is no memory for them: `n_keys` is not bounded by the cells.
fn zeros(count: usize) -> Result<Vec<i64>> {
    let mut found = Vec::new();
    found
        .try_reserve_exact(count)
        .map_err(|_| Error::contract(format!("there is no memory for {count} offsets")))?;
    found.resize(count, 0);
    Ok(found)
}

#[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation)]
fn to_index(position: i64) -> usize {
    position as usize
}
