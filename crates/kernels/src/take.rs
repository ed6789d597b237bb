//! The elements of an array in another order.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::parallel::{Run, Shared};

const BLOCK: usize = 1 << 18;

/// `values[order]`.
///
/// # Errors
/// `Error::Contract` where a position is out of range, `Error::Cancelled`.
pub fn take<T: Copy + Default + Send + Sync>(
    run: Run<'_>,
    values: &[T],
    order: &[u32],
) -> Result<Vec<T>> {
    let mut taken = vec![T::default(); order.len()];
    let blocks: Vec<Range<usize>> =
        (0..order.len()).step_by(BLOCK).map(|k| k..(k + BLOCK).min(order.len())).collect();
    {
        let shared = Shared::new(&mut taken);
        run.for_each(
            &blocks,
            || (),
            |(), block| {
                // SAFETY: blocks are disjoint.
                let own = unsafe { shared.range(block.clone()) };
                for (to, &position) in own.iter_mut().zip(&order[block.clone()]) {
                    *to = *values.get(position as usize).ok_or_else(|| {
                        Error::contract(format!(
                            "index {position} is out of range, there are {}",
                            values.len()
                        ))
                    })?;
                }
                Ok(())
            },
        )?;
    }
    Ok(taken)
}
