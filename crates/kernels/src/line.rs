//! The squared error along a line: its five coefficients.
//!
//! ```text
//! W + t D, Z + t E, b + t d:   r̂(t) = r̂ + t p + t² q,   p = D·Z + W·E + d_u + d_i,   q = D·E
//! Σ c (v − r̂(t))² = Σ c (e − t p − t² q)²,  e = v − r̂
//! ```
//!
//! A row's sums are in float64, and rows are summed in order.

use crate::cells::Cells;
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared, chunks_by_cost};
use crate::score::{Model, dots};
use crate::simd::{Element, Isa, Kernel, Simd};

/// The coefficients of Σ c (v − r̂(t))² in t⁰ … t⁴, `way` being the change of every array of `model` by t = 1
/// (its mean plays no part).
///
/// # Errors
/// `Error::Contract`, `Error::Cancelled`.
pub fn line_errors<T: Element>(
    isa: Isa,
    run: Run<'_>,
    model: &Model<'_, T>,
    way: &Model<'_, T>,
    cells: &Cells<'_>,
) -> Result<[f64; 5]> {
    let (m, n) = model.check()?;
    cells.check()?;
    if way.rank != model.rank || way.check()? != (m, n) || cells.rows() != m {
        return Err(Error::contract("model, way and cells must have the same rows and columns"));
    }
    let mut sums = vec![0.0; 5 * m];
    let chunks = chunks_by_cost(m, run.threads(), |u| cells.row(u).len() as f64 + 1.0);
    let shared = Shared::new(&mut sums);
    run.for_each(
        &chunks,
        || (),
        |(), chunk| {
            // SAFETY: chunks are disjoint.
            let out = unsafe { shared.range(5 * chunk.start..5 * chunk.end) };
            T::run(isa, Line { model, way, cells, first: chunk.start, out, run })
        },
    )?;
    let mut total = [0.0; 5];
    for row in sums.chunks_exact(5) {
        for (total, own) in total.iter_mut().zip(row) {
            *total += own;
        }
    }
    Ok(total)
}

struct Line<'a, T> {
    model: &'a Model<'a, T>,
    way: &'a Model<'a, T>,
    cells: &'a Cells<'a>,
    first: usize,
    out: &'a mut [f64],
    run: Run<'a>,
}

impl<T: Element> Kernel<T> for Line<'_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) -> Result<()> {
        let Line { model, way, cells, first, out, run } = self;
        let rank = model.rank;
        let n = model.items.len() / rank;
        let bias = |of: Option<&[T]>, row: usize| of.map_or(0.0, |b| b[row].to_f64());
        for (place, sums) in out.chunks_exact_mut(5).enumerate() {
            let u = first + place;
            let rows = [model.user(u).as_ptr(), way.user(u).as_ptr()];
            let base = model.mean + bias(model.user_bias, u);
            let slope = bias(way.user_bias, u);
            run.check()?;
            for cell in cells.row(u) {
                let i = cells.indices[cell] as usize;
                if i >= n {
                    return Err(Error::contract(format!("column {i} is outside the {n} items")));
                }
                // SAFETY: all four rows have K elements.
                let ([wz, dz], [we, de]) = unsafe {
                    (
                        dots(simd, rows, model.item(i).as_ptr(), rank),
                        dots(simd, rows, way.item(i).as_ptr(), rank),
                    )
                };
                let e = f64::from(cells.values[cell]) - (wz.to_f64() + bias(model.item_bias, i) + base);
                let p = dz.to_f64() + we.to_f64() + slope + bias(way.item_bias, i);
                let q = de.to_f64();
                let c = cells.weights.map_or(1.0, |w| f64::from(w[cell]));
                let terms = [e * e, -2.0 * e * p, p * p - 2.0 * e * q, 2.0 * p * q, q * q];
                for (sum, term) in sums.iter_mut().zip(terms) {
                    *sum += c * term;
                }
            }
        }
        Ok(())
    }
}
