//! Solve a symmetric positive definite system with an optional border, in place.
//!
//! ```text
//! [ A   s ] [ x ]   [ q ]        A = Wᵀ D W, W unit upper triangular, D > 0
//! [ sᵀ  σ ] [ β ] = [ ρ ]        (the Cholesky factor is D^½ W)
//!
//! for panels of 16 rows p .. e:
//!     for row i of the panel:
//!         r_i = A_i − Σ_{p ≤ k < i} w_k[i] · r_k                 the row before it is normalised
//!         d_i = r_i[i];  check d_i > size · ε · (A_ii at the start)
//!         w_i = r_i / d_i;  y_i = q_i / d_i;  v_i = s_i / d_i    stored in place of A_i
//!         q −= y_i r_i;  s −= v_i r_i (panel's columns);  σ −= s_i v_i;  ρ −= s_i y_i
//!     rows below the panel, and q and s:  −= Σ_{k in panel} w_k · r_k       the micro-kernel
//! β = ρ / σ (σ checked as a pivot);  x = W⁻¹ (y − β v), by panels from the last to the first
//! ```
//!
//! 1. No square root, and one division for each row: the root-free form has the error bound of
//!    Cholesky for positive definite A, and a shorter chain from pivot to pivot.
//! 2. The right-hand side and the border column are two more rows below the matrix, so forward
//!    substitution is part of the factorization; y_i and v_i are kept in columns K and K + 1 of row i,
//!    where the micro-kernel expects the coefficients of those rows.
//! 3. The panel looks left: a row is loaded and stored once.
//! 4. The triangle inside each panel is also kept transposed and negated: the back substitution then subtracts
//!    x_k times a column, with no sum over lanes in the chain from unknown to unknown.

use crate::buffer::Buffer;
use crate::simd::{Element, Simd};
use crate::tile::{Into, Layout, RankUpdate};

/// Rows of a panel: a multiple of the lanes of every instruction set.
const PANEL: usize = 16;

/// Memory for solving one system after the other: K · (K + 58) elements at most, rounded up.
pub struct Workspace<T> {
    /// The rows r of a panel.
    panel: Buffer<T>,
    /// The triangles inside the panels, transposed and negated: 16 elements for each row.
    inside: Buffer<T>,
    /// The diagonal of A.
    diagonal: Buffer<T>,
    /// The solution, padded with zeros.
    pub x: Buffer<T>,
}

impl<T: Element> Workspace<T> {
    pub fn new(layout: Layout) -> Self {
        let padded = layout.rank.next_multiple_of(PANEL);
        Self {
            panel: Buffer::zeros(PANEL * layout.stride),
            inside: Buffer::zeros(padded * PANEL),
            diagonal: Buffer::zeros(padded),
            x: Buffer::zeros(padded),
        }
    }
}

/// The corner of a bordered system: σ and ρ.
#[derive(Clone, Copy)]
pub struct Corner<T> {
    pub sigma: T,
    pub rho: T,
}

/// There is no unique finite solution in the working precision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsolved;

/// Solve into `workspace.x`; with a corner, return β.
///
/// `g` holds the upper triangle of A, then q, then (with a corner) s; it is overwritten.
#[inline(always)]
pub fn solve<S: Simd>(
    s: S,
    layout: Layout,
    g: &mut [S::Elem],
    corner: Option<Corner<S::Elem>>,
    workspace: &mut Workspace<S::Elem>,
) -> Result<S::Elem, Unsolved> {
    let zero = S::Elem::ZERO;
    let Layout { rank, stride, border } = layout;
    assert!(border == 1 + corner.is_some() as usize);
    assert!(g.len() >= layout.len() && workspace.panel.len() >= PANEL * stride);
    assert!(workspace.inside.len() >= rank.next_multiple_of(PANEL) * PANEL);
    assert!(workspace.x.len() >= rank.next_multiple_of(PANEL));
    let size = rank + corner.is_some() as usize;
    let tolerance = S::Elem::from_f64(size as f64) * S::Elem::EPSILON;
    let sigma = corner.map_or(zero, |corner| corner.sigma);
    let mut corner = corner.unwrap_or(Corner { sigma: zero, rho: zero });

    for (k, diagonal) in workspace.diagonal[..rank].iter_mut().enumerate() {
        *diagonal = g[k * stride + k];
    }
    let mut p = 0;
    while p < rank {
        let end = (p + PANEL).min(rank);
        Panel { layout, g, corner: &mut corner, workspace, tolerance, p, end }.factor(s)?;
        if end < rank {
            let (above, below) = g.split_at_mut(end * stride);
            RankUpdate {
                layout,
                left: &above[p * stride..],
                right: &workspace.panel,
                depth: end - p,
                g: below,
                first_row: end,
                into: Into::Subtract,
            }
            .run(s);
        }
        p = end;
    }

    let mut beta = zero;
    if border == 2 {
        check(corner.sigma, sigma, tolerance)?;
        beta = corner.rho / corner.sigma;
    }
    BackSubstitution { layout, g, beta, inside: &workspace.inside, x: &mut workspace.x }.run(s);
    let finite = beta.is_finite() && workspace.x[..rank].iter().all(|x| x.is_finite());
    if finite { Ok(beta) } else { Err(Unsolved) }
}

/// Is `pivot` above rounding, where the matrix had `original`?
#[inline(always)]
fn check<T: Element>(pivot: T, original: T, tolerance: T) -> Result<(), Unsolved> {
    // Written so that NaN fails.
    let above = pivot > T::ZERO && pivot > tolerance * original;
    if above && pivot.is_finite() && original.is_finite() { Ok(()) } else { Err(Unsolved) }
}

/// Factor rows `p` to `end`, and carry q, s and the corner along.
struct Panel<'a, T> {
    layout: Layout,
    g: &'a mut [T],
    corner: &'a mut Corner<T>,
    workspace: &'a mut Workspace<T>,
    tolerance: T,
    p: usize,
    end: usize,
}

impl<T: Element> Panel<'_, T> {
    #[inline(always)]
    fn factor<S: Simd<Elem = T>>(self, s: S) -> Result<(), Unsolved> {
        let Layout { rank, stride, border } = self.layout;
        let (p, end) = (self.p, self.end);
        let vectors = rank.div_ceil(S::LANES);
        let panel_vectors = end.div_ceil(S::LANES);
        let g = self.g.as_mut_ptr();
        let panel = self.workspace.panel.as_mut_ptr();
        let inside = self.workspace.inside.as_mut_ptr();
        // SAFETY: `solve` asserted the lengths. Rows of `g` up to rank + border, rows of `panel` up to
        // 16, each `stride` long, hold `vectors` whole vectors and column rank + border − 1 (the
        // layout's stride is at least that); `inside` holds 16 elements for each row.
        unsafe {
            for i in p..end {
                let row = g.add(i * stride);
                let inside = inside.add(i * PANEL);
                let r = panel.add((i - p) * stride);
                for k in p..i {
                    *inside.add(k - p) = -*g.add(k * stride + i);
                }
                for k in i - p..PANEL {
                    *inside.add(k) = T::ZERO;
                }

                let first = i / S::LANES;
                let mut j = first;
                while j < vectors {
                    let column = j * S::LANES;
                    let (row, r, before) = (row.add(column), r.add(column), panel.add(column));
                    match vectors - j {
                        1 => look_left::<S, 1>(s, row, r, before, inside, i - p, stride),
                        2 => look_left::<S, 2>(s, row, r, before, inside, i - p, stride),
                        3 => look_left::<S, 3>(s, row, r, before, inside, i - p, stride),
                        _ => look_left::<S, 4>(s, row, r, before, inside, i - p, stride),
                    }
                    j += 4;
                }

                let pivot = *r.add(i);
                check(pivot, self.workspace.diagonal[i], self.tolerance)?;
                let inverse = T::ONE / pivot;
                let scale = s.splat(inverse);
                for j in first..vectors {
                    s.store(row.add(j * S::LANES), s.mul(scale, s.load(r.add(j * S::LANES))));
                }
                for b in 0..border {
                    let below = g.add((rank + b) * stride);
                    let here = *below.add(i);
                    let y = here * inverse;
                    *row.add(rank + b) = y;
                    let minus = s.splat(-y);
                    for j in first..panel_vectors {
                        let column = below.add(j * S::LANES);
                        s.store(column, s.fma(minus, s.load(r.add(j * S::LANES)), s.load(column)));
                    }
                    if b == 1 {
                        self.corner.rho -= here * *row.add(rank);
                        self.corner.sigma -= here * *row.add(rank + 1);
                    }
                }
            }
        }
        Ok(())
    }
}

/// r = row + Σ_k coefficient[k] · before[k], for C vectors.
///
/// # Safety
/// `row`, `r` and each of `depth` rows of `before`, `stride` apart, hold C vectors; `coefficients`
/// holds `depth` elements.
#[inline(always)]
unsafe fn look_left<S: Simd, const C: usize>(
    s: S,
    row: *const S::Elem,
    r: *mut S::Elem,
    before: *const S::Elem,
    coefficients: *const S::Elem,
    depth: usize,
    stride: usize,
) {
    // SAFETY: as the caller vouches.
    unsafe {
        let mut sum = [s.splat(S::Elem::ZERO); C];
        for c in 0..C {
            sum[c] = s.load(row.add(c * S::LANES));
        }
        for k in 0..depth {
            let coefficient = s.splat(*coefficients.add(k));
            for c in 0..C {
                let other = s.load(before.add(k * stride + c * S::LANES));
                sum[c] = s.fma(coefficient, other, sum[c]);
            }
        }
        for c in 0..C {
            s.store(r.add(c * S::LANES), sum[c]);
        }
    }
}

/// x = W⁻¹ (y − β v).
struct BackSubstitution<'a, T> {
    layout: Layout,
    g: &'a [T],
    beta: T,
    inside: &'a [T],
    x: &'a mut [T],
}

impl<T: Element> BackSubstitution<'_, T> {
    #[inline(always)]
    fn run<S: Simd<Elem = T>>(self, s: S) {
        let Layout { rank, stride, border } = self.layout;
        let vectors = rank.div_ceil(S::LANES);
        let (g, inside, x) = (self.g.as_ptr(), self.inside.as_ptr(), self.x.as_mut_ptr());
        // SAFETY: `solve` asserted the lengths: `g` has `rank` rows of `stride` elements, `inside`
        // 16 elements for each row, and `x` holds rank elements rounded up to 16.
        unsafe {
            for p in (0..rank).step_by(PANEL).rev() {
                let end = (p + PANEL).min(rank);
                // What the unknowns after this panel leave of the right-hand side.
                let mut rest = [T::ZERO; PANEL];
                for i in p..end {
                    let row = g.add(i * stride);
                    let mut y = *row.add(rank);
                    if border == 2 {
                        y -= self.beta * *row.add(rank + 1);
                    }
                    if end < rank {
                        let mut sum = s.splat(T::ZERO);
                        for j in end / S::LANES..vectors {
                            let column = j * S::LANES;
                            sum = s.fma(s.load(row.add(column)), s.load(x.add(column)), sum);
                        }
                        y -= s.sum(sum);
                    }
                    rest[i - p] = y;
                }
                let x = x.add(p);
                for j in 0..PANEL / S::LANES {
                    s.store(x.add(j * S::LANES), s.load(rest.as_ptr().add(j * S::LANES)));
                }
                // Column k subtracts x_k from the rows above it; x_k itself is then final.
                for k in (1..end - p).rev() {
                    let x_k = s.splat(*x.add(k));
                    let column = inside.add((p + k) * PANEL);
                    for j in 0..k.div_ceil(S::LANES) {
                        let above = x.add(j * S::LANES);
                        let column = s.load(column.add(j * S::LANES));
                        s.store(above, s.fma(x_k, column, s.load(above)));
                    }
                }
            }
        }
    }
}
