//! Observed cells by row, checked.

use crate::error::{Error, Result};
use std::ops::Range;

/// Compressed rows: row u owns the cells `indptr[u] .. indptr[u + 1]`.
#[derive(Clone, Copy)]
pub struct Cells<'a> {
    /// Offsets, one more than rows.
    pub indptr: &'a [i64],
    /// Columns.
    pub indices: &'a [u32],
    /// Values.
    pub values: &'a [f32],
    /// Weights; none means 1.
    pub weights: Option<&'a [f32]>,
}

impl Cells<'_> {
    /// Check offsets and lengths once. Columns are checked where they are used.
    ///
    /// # Errors
    /// `Error::Contract`.
    pub fn check(&self) -> Result<()> {
        check_offsets(self.indptr, self.indices.len())?;
        if self.values.len() != self.indices.len()
            || self.weights.is_some_and(|w| w.len() != self.indices.len())
        {
            return Err(Error::contract("indices, values and weights differ in length"));
        }
        Ok(())
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// The cells of a row.
    #[must_use]
    pub fn row(&self, u: usize) -> Range<usize> {
        row_of(self.indptr, u)
    }
}

/// The cells of a row (offsets have been checked to be ascending and not negative).
#[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation)]
pub(crate) fn row_of(indptr: &[i64], u: usize) -> Range<usize> {
    indptr[u] as usize..indptr[u + 1] as usize
}

/// Offsets begin at 0, ascend, and end at `cells`.
pub(crate) fn check_offsets(indptr: &[i64], cells: usize) -> Result<()> {
    let ascending = indptr.windows(2).all(|pair| pair[0] <= pair[1]);
    let ends = indptr.first() == Some(&0) && indptr.last().copied() == i64::try_from(cells).ok();
    if ascending && ends {
        Ok(())
    } else {
        Err(Error::contract("indptr must begin at 0, ascend and end at the number of cells"))
    }
}
