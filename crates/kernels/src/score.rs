//! Predicted ratings and their errors: r̂ = (w·z + b_i) + (μ + b_u).
//!
//! The parenthesis is part of the contract: `topk` ranks by the first part and its callers add the
//! second, so that a recommended score is the predicted one to the last bit.

use crate::cells::Cells;
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared, chunks_by_cost};
use crate::simd::{Element, Isa, Kernel, Simd};

/// The learned arrays of a model, as the kernels see them.
#[derive(Clone, Copy)]
pub struct Model<'a, T> {
    /// K.
    pub rank: usize,
    /// W: m × K.
    pub users: &'a [T],
    /// Z: n × K.
    pub items: &'a [T],
    /// b_u: m.
    pub user_bias: Option<&'a [T]>,
    /// b_i: n.
    pub item_bias: Option<&'a [T]>,
    /// μ.
    pub mean: f64,
}

impl<T: Element> Model<'_, T> {
    pub(crate) fn check(&self) -> Result<(usize, usize)> {
        if self.rank == 0
            || !self.users.len().is_multiple_of(self.rank)
            || !self.items.len().is_multiple_of(self.rank)
        {
            return Err(Error::contract("users and items must be rows × K with the same K ≥ 1"));
        }
        let (m, n) = (self.users.len() / self.rank, self.items.len() / self.rank);
        if self.user_bias.is_some_and(|b| b.len() != m) || self.item_bias.is_some_and(|b| b.len() != n) {
            return Err(Error::contract("a bias must hold one entry per row of its factors"));
        }
        Ok((m, n))
    }

    #[inline(always)]
    pub(crate) fn user(&self, u: usize) -> &[T] {
        &self.users[u * self.rank..(u + 1) * self.rank]
    }

    #[inline(always)]
    pub(crate) fn item(&self, i: usize) -> &[T] {
        &self.items[i * self.rank..(i + 1) * self.rank]
    }
}

/// a·b: one vector accumulator over the vectors in order, the last one padded with zeros, then its lanes
/// (`Simd::sum`). Off by at most (K / lanes + log₂ lanes + 1) ε Σ |a b| to first order.
#[inline(always)]
pub fn dot<S: Simd>(simd: S, a: &[S::Elem], b: &[S::Elem]) -> S::Elem {
    assert_eq!(a.len(), b.len());
    // SAFETY: both have this length.
    unsafe { dots(simd, [a.as_ptr()], b.as_ptr(), a.len())[0] }
}

/// a·b for R vectors a, each with the bits of [`dot`].
///
/// # Safety
/// `b` and every `a` must be valid for reading `n` elements.
#[inline(always)]
pub unsafe fn dots<S: Simd, const R: usize>(
    simd: S,
    a: [*const S::Elem; R],
    b: *const S::Elem,
    n: usize,
) -> [S::Elem; R] {
    let mut sums = [simd.splat(S::Elem::ZERO); R];
    let mut j = 0;
    while j + S::LANES <= n {
        // SAFETY: elements j .. j + LANES are below n.
        unsafe {
            let b = simd.load(b.add(j));
            for r in 0..R {
                sums[r] = simd.fma(simd.load(a[r].add(j)), b, sums[r]);
            }
        }
        j += S::LANES;
    }
    if j < n {
        // SAFETY: n − j < LANES elements are left.
        unsafe {
            let b = simd.load_first(b.add(j), n - j);
            for r in 0..R {
                sums[r] = simd.fma(simd.load_first(a[r].add(j), n - j), b, sums[r]);
            }
        }
    }
    let mut out = [S::Elem::ZERO; R];
    for r in 0..R {
        out[r] = simd.sum(sums[r]);
    }
    out
}

/// μ + b_u + b_i + w_u·z_i for index pairs into `out`; −1 is unknown and contributes nothing.
///
/// # Errors
/// `Error::Contract` (an index below −1 or beyond its side), `Error::Cancelled`.
pub fn predict<T: Element>(
    isa: Isa,
    run: Run<'_>,
    model: &Model<'_, T>,
    user_index: &[i64],
    item_index: &[i64],
    out: &mut [T],
) -> Result<()> {
    let (m, n) = model.check()?;
    if user_index.len() != item_index.len() || user_index.len() != out.len() {
        return Err(Error::contract("indices and out differ in length"));
    }
    let fits = |index: i64, rows: usize| index == -1 || usize::try_from(index).is_ok_and(|i| i < rows);
    if !user_index.iter().all(|&u| fits(u, m)) || !item_index.iter().all(|&i| fits(i, n)) {
        return Err(Error::contract("an index is below −1 or beyond its side"));
    }
    let chunks: Vec<_> =
        (0..out.len()).step_by(1 << 14).map(|a| a..(a + (1 << 14)).min(user_index.len())).collect();
    let out = Shared::new(out);
    run.for_each(
        &chunks,
        || (),
        |(), chunk| {
            let pairs = Pairs {
                model,
                users: &user_index[chunk.clone()],
                items: &item_index[chunk.clone()],
                // SAFETY: chunks are disjoint.
                out: unsafe { out.range(chunk.clone()) },
            };
            T::run(isa, pairs);
            Ok(())
        },
    )
}

struct Pairs<'a, T> {
    model: &'a Model<'a, T>,
    users: &'a [i64],
    items: &'a [i64],
    out: &'a mut [T],
}

impl<T: Element> Kernel<T> for Pairs<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) {
        let mean = T::from_f64(self.model.mean);
        for ((out, &u), &i) in self.out.iter_mut().zip(self.users).zip(self.items) {
            let (user, item) = (usize::try_from(u).ok(), usize::try_from(i).ok());
            let mut first = T::ZERO;
            if let (Some(u), Some(i)) = (user, item) {
                first = dot(simd, self.model.user(u), self.model.item(i));
            }
            if let (Some(b), Some(i)) = (self.model.item_bias, item) {
                first += b[i];
            }
            let mut second = mean;
            if let (Some(b), Some(u)) = (self.model.user_bias, user) {
                second += b[u];
            }
            *out = first + second;
        }
    }
}

/// Σ c (v − r̂)² over the cells, rows summed in float64 and in order; that of every row into `by_row`, where it is
/// given.
///
/// # Errors
/// `Error::Contract`, `Error::Cancelled`.
pub fn squared_error<T: Element>(
    isa: Isa,
    run: Run<'_>,
    model: &Model<'_, T>,
    cells: &Cells<'_>,
    by_row: Option<&mut [f64]>,
) -> Result<f64> {
    let (m, _) = model.check()?;
    cells.check()?;
    if cells.rows() != m || by_row.as_ref().is_some_and(|sums| sums.len() != m) {
        return Err(Error::contract("cells and by_row must have one row per user"));
    }
    let mut own = Vec::new();
    let sums = by_row.unwrap_or_else(|| {
        own.resize(m, 0.0);
        &mut own
    });
    let chunks = chunks_by_cost(m, run.threads(), |u| cells.row(u).len() as f64 + 1.0);
    let shared = Shared::new(&mut *sums);
    run.for_each(
        &chunks,
        || (),
        |(), chunk| {
            // SAFETY: chunks are disjoint.
            let out = unsafe { shared.range(chunk.clone()) };
            T::run(isa, Errors { model, cells, first: chunk.start, out, run })
        },
    )?;
    Ok(sums.iter().sum())
}

struct Errors<'a, T> {
    model: &'a Model<'a, T>,
    cells: &'a Cells<'a>,
    first: usize,
    out: &'a mut [f64],
    run: Run<'a>,
}

impl<T: Element> Kernel<T> for Errors<'_, T> {
    type Output = Result<()>;

    #[inline(always)]
    fn call<S: Simd<Elem = T>>(self, simd: S) -> Result<()> {
        let n = self.model.items.len() / self.model.rank;
        for (place, out) in self.out.iter_mut().enumerate() {
            let u = self.first + place;
            let w = self.model.user(u);
            let base = self.model.mean + self.model.user_bias.map_or(0.0, |b| b[u].to_f64());
            let mut total = 0.0;
            self.run.check()?;
            for cell in self.cells.row(u) {
                let i = self.cells.indices[cell] as usize;
                if i >= n {
                    return Err(Error::contract(format!("column {i} is outside the {n} items")));
                }
                let fitted = dot(simd, w, self.model.item(i)).to_f64()
                    + self.model.item_bias.map_or(0.0, |b| b[i].to_f64())
                    + base;
                let residual = f64::from(self.cells.values[cell]) - fitted;
                let c = self.cells.weights.map_or(1.0, |w| f64::from(w[cell]));
                total += c * residual * residual;
            }
            *out = total;
        }
        Ok(())
    }
}
