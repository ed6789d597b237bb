//! The cosine contrastive loss, by blocks of users.

use halfstep_kernels::{self as kernels, Cells, CosineBlocks, CosineRows, CosineStep, Element};
use pyo3::prelude::*;

use crate::args::{ANY, Out, is_f64};
use crate::door::run;
use crate::{Any, F32, I64, U32, cells_of, chosen_isa, contiguous};

/// indptr, indices, values, weights.
type Positives<'py> = (I64<'py>, U32<'py>, F32<'py>, Option<F32<'py>>);
/// Order, users of a block, draws.
type Blocks<'py> = (U32<'py>, usize, U32<'py>);
/// m, ω, η of users and items, `items_fixed`.
type Step = (f64, f64, (f64, f64), bool);
/// Factors, sums.
type Arrays<'py> = (Any<'py>, Any<'py>);

/// An epoch.
#[pyfunction]
pub fn cosine_epoch<'py>(
    py: Python<'py>,
    positives: Positives<'py>,
    blocks: Blocks<'py>,
    step: Step,
    users: Arrays<'py>,
    items: Arrays<'py>,
) -> PyResult<()> {
    let (indptr, indices, values, weights) = &positives;
    let cells = cells_of(py, indptr, indices, values, weights.as_ref())?;
    let (order, size, drawn) = &blocks;
    let blocks = CosineBlocks {
        order: contiguous(py, "order", order)?,
        size: *size,
        drawn: contiguous(py, "drawn", drawn)?,
    };
    let (margin, weight, rates, items_fixed) = step;
    let step = CosineStep { margin, weight, rates: rates.into(), items_fixed };
    if is_f64(&users.0) {
        typed::<f64>(py, &cells, blocks, step, &users, &items)
    } else {
        typed::<f32>(py, &cells, blocks, step, &users, &items)
    }
}

fn typed<'py, T: Element + numpy::Element>(
    py: Python<'py>,
    cells: &Cells<'_>,
    blocks: CosineBlocks<'_>,
    step: CosineStep,
    users: &Arrays<'py>,
    items: &Arrays<'py>,
) -> PyResult<()> {
    let isa = chosen_isa(py)?;
    let mut w = Out::<T>::of("factors", &users.0, &[ANY, ANY])?;
    let (m, rank) = w.extents();
    let mut z = Out::<T>::of("factors", &items.0, &[ANY, rank])?;
    let mut user_sums = Out::<T>::of("sums", &users.1, &[m])?;
    let mut item_sums = Out::<T>::of("sums", &items.1, &[z.extents().0])?;
    let of_a_block = blocks.size as f64 * blocks.drawn.len() as f64;
    let work = (of_a_block + 4.0 * cells.indices.len() as f64) * rank as f64;
    let rows = (
        CosineRows { factors: w.slice(), sums: user_sums.slice() },
        CosineRows { factors: z.slice(), sums: item_sums.slice() },
    );
    run(py, work, |r| kernels::cosine_epoch(isa, r, cells, blocks, rank, step, rows))
}
