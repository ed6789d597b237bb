//! The gradient of ½ Σ c (v − r̂)² in the rows of one side.
//!
//! ```text
//! for every row u:  e_i = c_i (r̂_ui − v_i),   g_u = Σ_i e_i f_i,   ∂/∂b_u = Σ_i e_i
//! ```
//!
//! over the cells of the row: E F of the matrix form, without E. The other side is the same call with the
//! sides exchanged, so that every row owns its sums and no two threads add to the same place.
//!
//! Tricks: four cells at a time, so that w_u and g_u are read once for all of them; and a sum over at most
//! [`BLOCK`] cells is added to those before it, which bounds its error by about (`BLOCK` + cells / `BLOCK`) ε
//! Σ |e f| however long the row is.

use crate::cells::Cells;
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared, chunks_by_cost};
use crate::score::{Model, dots};
use crate::simd::{Element, Isa, Kernel, Simd};

/// Cells whose terms are summed before the sum joins the others: a multiple of [`TOGETHER`].
const BLOCK: usize = 1024;

/// Cells that share a reading of w_u and of g_u.
const TOGETHER: usize = 4;

/// Write the gradient of every row into `out` (rows × K) and `out_bias`; the sum Σ c (v − r̂)² has the bits of
/// `squared_error`. The rows of `cells` are the users of `model`.
///
/// # Errors
/// `Error::Contract`, `Error::Cancelled`.
pub fn gradient<T: Element>(
    isa: Isa,
    run: Run<'_>,
    model: &Model<'_, T>,
    cells: &Cells<'_>,
    out: &mut [T],
    out_bias: Option<&mut [T]>,
) -> Result<f64> {
    let (m, _) = model.check()?;
    cells.check()?;
    if cells.rows() != m || out.len() != model.users.len() {
        return Err(Error::contract("cells and out must have one row per user"));
    }
    if out_bias.as_ref().is_some_and(|b| b.len() != m) {
        return Err(Error::contract("out_bias must hold one entry per user"));
    }
    let mut sums = vec![0.0; m];
    let chunks = chunks_by_cost(m, run.threads(), |u| cells.row(u).len() as f64 + 1.0);
    let (squares, out, out_bias) = (Shared::new(&mut sums), Shared::new(out), out_bias.map(Shared::new));
    run.for_each(
        &chunks,
        || vec![T::ZERO; model.rank],
        |block, rows| {
            // SAFETY: chunks are disjoint ranges of rows.
            let (squares, g, b) = unsafe {
                let g = out.range(rows.start * model.rank..rows.end * model.rank);
                (squares.range(rows.clone()), g, out_bias.as_ref().map(|b| b.range(rows.clone())))
            };
            T::run(isa, Chunk { model, cells, first: rows.start, block, squares, g, b, run })
        },
    )?;
    Ok(sums.iter().sum())
}

struct Chunk<'a, 'm, T> {
    model: &'a Model<'m, T>,
    cells: &'a Cells<'a>,
    first: usize,
    block: &'a mut [T],
    squares: &'a mut [f64],
    g: &'a mut [T],
    b: Option<&'a mut [T]>,
    run: Run<'a>,
}

impl<T: Element> Kernel<T> for Chunk<'_, '_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(mut self, simd: S) -> Result<()> {
        let rank = self.model.rank;
        for (place, squares) in self.squares.iter_mut().enumerate() {
            let u = self.first + place;
            let g = &mut self.g[place * rank..(place + 1) * rank];
            g.fill(T::ZERO);
            let (mut total, mut residuals) = (0.0, 0.0);
            let row = self.cells.row(u);
            for from in row.clone().step_by(BLOCK) {
                self.run.check()?;
                self.block.fill(T::ZERO);
                let to = row.end.min(from + BLOCK);
                let mut cell = from;
                while cell + TOGETHER <= to {
                    add::<_, TOGETHER>(
                        simd,
                        self.model,
                        self.cells,
                        u,
                        cell,
                        self.block,
                        &mut total,
                        &mut residuals,
                    )?;
                    cell += TOGETHER;
                }
                while cell < to {
                    add::<_, 1>(
                        simd,
                        self.model,
                        self.cells,
                        u,
                        cell,
                        self.block,
                        &mut total,
                        &mut residuals,
                    )?;
                    cell += 1;
                }
                for (g, &sum) in g.iter_mut().zip(&*self.block) {
                    *g += sum;
                }
            }
            *squares = total;
            if let Some(b) = &mut self.b {
                b[place] = T::from_f64(residuals);
            }
        }
        Ok(())
    }
}

/// The terms of R cells of row u from `cell` on: e f onto `g`, c (v − r̂)² onto `total`, e onto `residuals`.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // two sums in float64 beside the one in vectors
fn add<S: Simd, const R: usize>(
    simd: S,
    model: &Model<'_, S::Elem>,
    cells: &Cells<'_>,
    u: usize,
    cell: usize,
    g: &mut [S::Elem],
    total: &mut f64,
    residuals: &mut f64,
) -> Result<()> {
    let (rank, n) = (model.rank, model.items.len() / model.rank);
    let base = model.mean + model.user_bias.map_or(0.0, |b| b[u].to_f64());
    let mut f = [model.items.as_ptr(); R];
    for r in 0..R {
        let i = cells.indices[cell + r] as usize;
        if i >= n {
            return Err(Error::contract(format!("column {i} is outside the {n} items")));
        }
        f[r] = model.items[i * rank..(i + 1) * rank].as_ptr();
    }
    // SAFETY: every f is a row of K items, and so is the user's.
    let products = unsafe { dots(simd, f, model.user(u).as_ptr(), rank) };
    let mut e = [S::Elem::ZERO; R];
    for r in 0..R {
        let i = cells.indices[cell + r] as usize;
        let fitted = products[r].to_f64() + model.item_bias.map_or(0.0, |b| b[i].to_f64()) + base;
        let residual = f64::from(cells.values[cell + r]) - fitted;
        let c = cells.weights.map_or(1.0, |w| f64::from(w[cell + r]));
        *total += c * residual * residual;
        *residuals -= c * residual;
        e[r] = S::Elem::from_f64(-c * residual);
    }
    let mut wide = [simd.splat(S::Elem::ZERO); R];
    for r in 0..R {
        wide[r] = simd.splat(e[r]);
    }
    let mut j = 0;
    while j + S::LANES <= rank {
        // SAFETY: elements j .. j + LANES are below K, the length of g and of every f.
        unsafe {
            let mut sum = simd.load(g.as_ptr().add(j));
            for r in 0..R {
                sum = simd.fma(wide[r], simd.load(f[r].add(j)), sum);
            }
            simd.store(g.as_mut_ptr().add(j), sum);
        }
        j += S::LANES;
    }
    for (j, g) in g.iter_mut().enumerate().skip(j) {
        for r in 0..R {
            // SAFETY: j is below K, the length of every f.
            *g += e[r] * unsafe { *f[r].add(j) };
        }
    }
    Ok(())
}
