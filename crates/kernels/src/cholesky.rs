//! A = UᵀU and A x = q for one row system, in place, with a border of two extra rows.
//!
//! ```text
//! for each panel of L = LANES rows, from the top:
//!     factor the L × L diagonal block, row by row:
//!         pivot ← M[k][k];   stop unless pivot > tolerance · A[k][k]
//!         U[k][..] ← M[k][..] / √pivot;   border[e][k] ← border[e][k] / √pivot
//!         subtract U[k][i] · U[k][..] from the panel's rows i > k, and from the border
//!     the panel's other columns: U[k][j] ← (M[k][j] − Σ_{l<k} U[l][k] U[l][j]) / √pivot_k
//!     the rows below: M[i][..] −= Σ_k U[k][i] U[k][..]   (the register tile)
//! back: x[k] ← (y[k] − Σ_{j>k} U[k][j] x[j]) / √pivot_k, panel by panel from the bottom
//! ```
//!
//! 1. The panel is one vector wide, so the diagonal block is one vector a row.
//! 2. The border (the bias column and the right-hand side) rides along as two more rows of the same
//!    elimination: forward substitution costs no pass of its own.
//! 3. Everything left of the diagonal inside a vector is rubbish that is never read.

use crate::simd::{Element, Simd};
use crate::tile::{Update, update_pair, update_upper};

/// One system in scratch memory: M (rows × stride, upper triangle), border (2 × stride).
pub struct System<'a, T> {
    /// The unknowns: K.
    pub size: usize,
    /// Elements from one row of M to the next: K rounded up to the lanes.
    pub stride: usize,
    /// A on entry, U on return; at least `size` rounded up × stride elements.
    pub matrix: &'a mut [T],
    /// Two rows: on entry any two right-hand sides, on return U⁻ᵀ of them.
    pub border: &'a mut [T],
    /// 1 / U[k][k].
    pub inverse: &'a mut [T],
    /// Scratch of 2 · LANES coefficients.
    pub pair: &'a mut [T],
}

impl<T: Element> System<'_, T> {
    /// Factor A and solve the two forward systems. False where a pivot is not above `tolerance` times
    /// the diagonal entry that it came from, or is not finite.
    #[inline(always)]
    pub fn factor<S: Simd<Elem = T>>(&mut self, simd: S, tolerance: T) -> bool {
        let (size, stride, lanes) = (self.size, self.stride, S::LANES);
        assert!(stride >= size && stride.is_multiple_of(lanes));
        assert!(self.matrix.len() >= size * stride && self.border.len() >= 2 * stride);
        assert!(self.inverse.len() >= size && self.pair.len() >= 2 * lanes);
        for k in 0..size {
            self.inverse[k] = self.matrix[k * stride + k]; // the diagonal of A, until it is used
        }
        let m = self.matrix.as_mut_ptr();
        let border = self.border.as_mut_ptr();
        let pair = self.pair.as_mut_ptr();
        let mut start = 0;
        while start < size {
            let end = (start + lanes).min(size);
            // SAFETY: all rows are below `size` and all vectors begin at a multiple of the lanes below
            // `stride`, inside the arrays by the assertions above.
            unsafe {
                for k in start..end {
                    let row = m.add(k * stride + start);
                    let pivot = *row.add(k - start);
                    let floor = tolerance * self.inverse[k];
                    if pivot <= floor || !pivot.is_finite() || !floor.is_finite() {
                        return false;
                    }
                    let inverse = T::ONE / pivot.sqrt();
                    self.inverse[k] = inverse;
                    let u = simd.mul(simd.load(row), simd.splat(inverse));
                    simd.store(row, u);
                    for i in k + 1..end {
                        let target = m.add(i * stride + start);
                        let minus = simd.splat(-*row.add(i - start));
                        simd.store(target, simd.fma(minus, u, simd.load(target)));
                    }
                    for e in 0..2 {
                        let target = border.add(e * stride + start);
                        let y = *target.add(k - start) * inverse;
                        simd.store(target, simd.fma(simd.splat(-y), u, simd.load(target)));
                        *target.add(k - start) = y;
                        *pair.add(2 * (k - start) + e) = y;
                    }
                }
                // The finished entries of the border were overwritten by later rows' rubbish columns.
                for k in start..end {
                    for e in 0..2 {
                        *border.add(e * stride + k) = *pair.add(2 * (k - start) + e);
                    }
                }
                self.right_of_panel(simd, start, end);
                let below = start + lanes;
                if below < size {
                    let panel = m.add(start * stride).cast_const();
                    let update = Update {
                        matrix: m,
                        stride,
                        columns: stride,
                        lhs: panel,
                        lhs_stride: stride,
                        rhs: panel,
                        rhs_stride: stride,
                        depth: end - start,
                        negative: true,
                    };
                    update_upper(simd, update, below..size);
                    update_pair(
                        simd,
                        Update { matrix: border, lhs: pair, lhs_stride: 2, ..update },
                        below,
                    );
                }
            }
            start += lanes;
        }
        true
    }

    /// Forward substitution of the panel's rows in the columns right of the diagonal block.
    ///
    /// # Safety
    /// `start..end` must be rows of one panel, factored in their diagonal block.
    #[inline(always)]
    unsafe fn right_of_panel<S: Simd<Elem = T>>(&mut self, simd: S, start: usize, end: usize) {
        let mut j = start + S::LANES;
        // SAFETY: columns j .. j + C · LANES stay within the stride.
        unsafe {
            while j < self.stride {
                match (self.stride - j) / S::LANES {
                    1 => {
                        self.columns::<S, 1>(simd, start, end, j);
                        j += S::LANES;
                    }
                    2 => {
                        self.columns::<S, 2>(simd, start, end, j);
                        j += 2 * S::LANES;
                    }
                    3 => {
                        self.columns::<S, 3>(simd, start, end, j);
                        j += 3 * S::LANES;
                    }
                    _ => {
                        self.columns::<S, 4>(simd, start, end, j);
                        j += 4 * S::LANES;
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn columns<S: Simd<Elem = T>, const C: usize>(
        &mut self,
        simd: S,
        start: usize,
        end: usize,
        j: usize,
    ) {
        let stride = self.stride;
        let m = self.matrix.as_mut_ptr();
        // SAFETY: rows of the panel and C vectors from column j on are inside the matrix (the caller).
        unsafe {
            for k in start..end {
                let row = m.add(k * stride + j);
                let mut acc = [simd.splat(T::ZERO); C];
                for (c, acc) in acc.iter_mut().enumerate() {
                    *acc = simd.load(row.add(c * S::LANES));
                }
                for l in start..k {
                    let minus = simd.splat(-*m.add(l * stride + k));
                    for (c, acc) in acc.iter_mut().enumerate() {
                        let u = simd.load(m.add(l * stride + j + c * S::LANES));
                        *acc = simd.fma(minus, u, *acc);
                    }
                }
                let inverse = simd.splat(self.inverse[k]);
                for (c, &acc) in acc.iter().enumerate() {
                    simd.store(row.add(c * S::LANES), simd.mul(acc, inverse));
                }
            }
        }
    }

    /// x ← U⁻¹ x for x of `stride` elements (those from `size` on must be 0).
    #[inline(always)]
    pub fn solve_back<S: Simd<Elem = T>>(&self, simd: S, x: &mut [T]) {
        let (size, stride, lanes) = (self.size, self.stride, S::LANES);
        assert!(x.len() >= stride && self.matrix.len() >= size * stride);
        let mut start = (size - 1) / lanes * lanes;
        loop {
            let end = (start + lanes).min(size);
            for k in start..end {
                // SAFETY: row k and x both hold `stride` elements.
                let done = unsafe {
                    let row = self.matrix.as_ptr().add(k * stride);
                    let mut acc = simd.splat(T::ZERO);
                    let mut j = start + lanes;
                    while j < stride {
                        acc = simd.fma(simd.load(row.add(j)), simd.load(x.as_ptr().add(j)), acc);
                        j += lanes;
                    }
                    sum(simd, acc)
                };
                x[k] -= done;
            }
            for k in (start..end).rev() {
                x[k] = x[k] * self.inverse[k];
                for l in start..k {
                    x[l] -= self.matrix[l * stride + k] * x[k];
                }
            }
            if start == 0 {
                return;
            }
            start -= lanes;
        }
    }
}

/// The sum of a vector's lanes, pairwise: (l, l + LANES/2), then half as many, and so on.
#[inline(always)]
pub fn sum<S: Simd>(simd: S, v: S::V) -> S::Elem {
    let mut lanes = [S::Elem::ZERO; 16];
    // SAFETY: no instruction set has more than 16 lanes.
    unsafe { simd.store(lanes.as_mut_ptr(), v) };
    let mut width = S::LANES / 2;
    while width > 0 {
        for l in 0..width {
            lanes[l] += lanes[l + width];
        }
        width /= 2;
    }
    lanes[0]
}
