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
//! 4. The triangle inside each panel is also kept by columns: the back substitution then subtracts x_k times a
//!    column, with no sum over lanes in the chain from unknown to unknown.

use crate::buffer::Buffer;
use crate::simd::{Element, MOST_LANES, Simd};
use crate::tile::{Into, Layout, Operands, RankUpdate, Soon};

/// The most rows of a panel (`Simd::PANEL`).
const PANEL: usize = 16;

/// Memory for solving one system after the other: K · (K + 58) elements at most, rounded up.
pub struct Workspace<T> {
    /// The rows r of a panel.
    panel: Buffer<T>,
    /// The blocks of the panels on the diagonal, by columns: 16 elements for each.
    inside: Buffer<T>,
    /// The diagonal of A.
    diagonal: Buffer<T>,
    /// The pivots d.
    pub pivots: Buffer<T>,
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
            pivots: Buffer::zeros(padded),
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
    let corner = factor(s, layout, g, corner, workspace)?;
    mean(s, layout, g, corner, workspace)
}

/// The solution of a system that is factored, into `workspace.x`, and β.
#[inline(always)]
pub fn mean<S: Simd>(
    s: S,
    layout: Layout,
    g: &[S::Elem],
    corner: Option<Corner<S::Elem>>,
    workspace: &mut Workspace<S::Elem>,
) -> Result<S::Elem, Unsolved> {
    let beta = corner.map_or(S::Elem::ZERO, |corner| corner.rho / corner.sigma);
    substitute_back(s, layout, g, beta, workspace)
}

/// The same drawn from N(A⁻¹ h, A⁻¹), A and h the whole of the system. `normals`: independent standard normal
/// numbers, one for each x and then one for β. The system is then no more, nor are they.
#[inline(always)]
pub fn draw<S: Simd>(
    s: S,
    layout: Layout,
    g: &mut [S::Elem],
    corner: Option<Corner<S::Elem>>,
    normals: &mut [S::Elem],
    workspace: &mut Workspace<S::Elem>,
) -> Result<S::Elem, Unsolved> {
    let Layout { rank, stride, .. } = layout;
    for (normal, &pivot) in normals.iter_mut().zip(&workspace.pivots[..rank]) {
        *normal /= pivot.sqrt(); // apart from what follows: by vectors
    }
    for (i, &normal) in normals[..rank].iter().enumerate() {
        g[i * stride + rank] += normal;
    }
    let beta =
        corner.map_or(S::Elem::ZERO, |Corner { sigma, rho }| rho / sigma + normals[rank] / sigma.sqrt());
    substitute_back(s, layout, g, beta, workspace)
}

/// x = W⁻¹ (y − β v) into `workspace.x`, and β.
#[inline(always)]
fn substitute_back<S: Simd>(
    s: S,
    layout: Layout,
    g: &[S::Elem],
    beta: S::Elem,
    workspace: &mut Workspace<S::Elem>,
) -> Result<S::Elem, Unsolved> {
    BackSubstitution { layout, g, beta, inside: &workspace.inside, x: &mut workspace.x }.run(s);
    let finite = beta.is_finite() && workspace.x[..layout.rank].iter().all(|x| x.is_finite());
    if finite { Ok(beta) } else { Err(Unsolved) }
}

/// Factor in place: w, y and v into `g`, the pivots d into `workspace.pivots`; return σ and ρ after elimination.
///
/// `g` holds what it holds for [`solve`].
#[inline(always)]
pub fn factor<S: Simd>(
    s: S,
    layout: Layout,
    g: &mut [S::Elem],
    corner: Option<Corner<S::Elem>>,
    workspace: &mut Workspace<S::Elem>,
) -> Result<Option<Corner<S::Elem>>, Unsolved> {
    let zero = S::Elem::ZERO;
    let Layout { rank, stride, border } = layout;
    let bias = corner.is_some();
    assert!(border == 1 + bias as usize);
    assert!(g.len() >= layout.len() && workspace.panel.len() >= PANEL * stride);
    assert!(workspace.inside.len() >= rank.next_multiple_of(PANEL) * PANEL);
    assert!(workspace.x.len() >= rank.next_multiple_of(PANEL));
    let size = rank + bias as usize;
    let tolerance = S::Elem::from_f64(size as f64) * S::Elem::EPSILON;
    let sigma = corner.map_or(zero, |corner| corner.sigma);
    let mut corner = corner.unwrap_or(Corner { sigma: zero, rho: zero });

    for (k, diagonal) in workspace.diagonal[..rank].iter_mut().enumerate() {
        *diagonal = g[k * stride + k];
    }
    let mut p = 0;
    while p < rank {
        let end = (p + S::PANEL).min(rank);
        Panel { layout, g, corner: &mut corner, workspace, p, end }.factor(s);
        for i in p..end {
            check(workspace.pivots[i], workspace.diagonal[i], tolerance)?;
        }
        if end < rank {
            let (above, below) = g.split_at_mut(end * stride);
            RankUpdate {
                layout,
                operands: Factored { w: &above[p * stride..], r: &workspace.panel, layout },
                depth: end - p,
                g: below,
                first_row: end,
                into: Into::Subtract,
                soon: Soon::nothing(),
            }
            .run(s);
        }
        p = end;
    }

    if bias {
        check(corner.sigma, sigma, tolerance)?;
    }
    Ok(bias.then_some(corner))
}

/// The rows of a panel: w with y and v behind it, and r.
#[derive(Clone, Copy)]
struct Factored<'a, T> {
    w: &'a [T],
    r: &'a [T],
    layout: Layout,
}

// SAFETY: `w` is rows of G, `r` those of the panel, as many as the depth of the update in `solve`; the stride of both
// is at least K rounded up to 16, and K + border.
unsafe impl<T: Element> Operands<T> for Factored<'_, T> {
    const SCALED: bool = false;
    #[inline(always)]
    fn left(self, k: usize) -> *const T {
        self.w.as_ptr().wrapping_add(k * self.layout.stride)
    }
    #[inline(always)]
    fn border(self, k: usize) -> *const T {
        self.left(k).wrapping_add(self.layout.rank)
    }
    #[inline(always)]
    fn right(self, k: usize) -> *const T {
        self.r.as_ptr().wrapping_add(k * self.layout.stride)
    }
    #[inline(always)]
    fn scale(self, _: usize) -> T {
        T::ONE
    }
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
    p: usize,
    end: usize,
}

impl<T: Element> Panel<'_, T> {
    #[inline(always)]
    fn factor<S: Simd<Elem = T>>(self, s: S) {
        let Layout { rank, stride, border } = self.layout;
        let (p, end) = (self.p, self.end);
        let Workspace { panel, inside, pivots, .. } = self.workspace;
        let (panel, inside) = (panel.as_mut_ptr(), inside.as_mut_ptr());
        let mut forward = Forward {
            inverse: [T::ZERO; PANEL],
            before: [[T::ZERO; PANEL]; 2],
            after: [[T::ZERO; PANEL]; 2],
        };
        // SAFETY: `solve` asserted the lengths. Rows of `g` up to rank + border, rows of `panel` up to
        // 16, each `stride` long, hold K rounded up to whole vectors and column rank + border − 1 (the
        // layout's stride is at least that); a panel that is not the last has `S::PANEL` rows.
        unsafe {
            let g = self.g.as_mut_ptr().add(p * stride);
            let block = Block { g: g.add(p), r: panel.add(p), stride, rows: end - p };
            let below = self.g.as_mut_ptr().add(rank * stride + p);
            let pivots = &mut pivots[p..end];
            match S::PANEL / S::LANES {
                1 => block.factor::<S, 1>(s, below, border, pivots, &mut forward),
                _ => block.factor::<S, 2>(s, below, border, pivots, &mut forward),
            }
            for j in (p + S::PANEL) / S::LANES..rank.div_ceil(S::LANES) {
                let column = j * S::LANES;
                block.beside(s, g.add(column), panel.add(column), &forward.inverse);
            }
            for b in 0..border {
                for i in 0..end - p {
                    *g.add(i * stride + rank + b) = forward.after[b][i];
                }
            }
            block.turn(s, inside.add(p * PANEL));
        }
        if border == 2 {
            for i in 0..end - p {
                self.corner.rho -= forward.before[1][i] * forward.after[0][i];
                self.corner.sigma -= forward.before[1][i] * forward.after[1][i];
            }
        }
    }
}

/// Of q and s, in a panel: what reaches row i, and that divided by its pivot (y_i and v_i).
struct Forward<T> {
    inverse: [T; PANEL],
    before: [[T; PANEL]; 2],
    after: [[T; PANEL]; 2],
}

/// The block of a panel on the diagonal.
#[derive(Clone, Copy)]
struct Block<T> {
    /// Its place in G.
    g: *mut T,
    /// Its place among the rows r.
    r: *mut T,
    stride: usize,
    rows: usize,
}

/// A step for every row of a panel, with its number as a constant of the compiler: the rows stay in
/// registers only where all of their indices are.
macro_rules! for_each_row {
    ($step:ident) => {
        $step!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
}

impl<T: Element> Block<T> {
    /// Factor the block in registers, D vectors a row; store w, r and the pivots.
    ///
    /// # Safety
    /// `g` and `r` are valid for `rows` rows, `below` for `border` rows, each of D vectors and `stride` apart.
    #[inline(always)]
    unsafe fn factor<S: Simd<Elem = T>, const D: usize>(
        self,
        s: S,
        below: *mut T,
        border: usize,
        pivots: &mut [T],
        forward: &mut Forward<T>,
    ) {
        let one = s.splat(T::ONE);
        // Rows beyond the last are never used: a row is changed only by those above it.
        let mut row = [[one; D]; PANEL + 1]; // one more, for a row after the last
        let mut q = [[one; D]; 2];
        // SAFETY: as the caller vouches.
        unsafe {
            for i in 0..S::PANEL {
                for d in 0..D {
                    if i < self.rows {
                        row[i][d] = s.load(self.g.add(i * self.stride + d * S::LANES));
                    }
                }
            }
            for b in 0..border {
                for d in 0..D {
                    q[b][d] = s.load(below.add(b * self.stride + d * S::LANES));
                }
            }
            macro_rules! step {
                ($($k:literal)*) => {$(
                    if $k < S::PANEL && $k < self.rows {
                        let r = row[$k];
                        let pivot = s.broadcast(r[$k / S::LANES], $k % S::LANES);
                        let inverse = s.div(one, pivot);
                        let w = self.g.add($k * self.stride);
                        for d in $k / S::LANES..D {
                            s.store(w.add(d * S::LANES), s.mul(r[d], inverse));
                            s.store(self.r.add($k * self.stride + d * S::LANES), r[d]);
                        }
                        if $k + 1 < S::PANEL {
                            // The next pivot waits for the next row: that does not wait for memory.
                            let (d, lane) = (($k + 1) / S::LANES, ($k + 1) % S::LANES);
                            let coefficient = s.mul(s.broadcast(r[d], lane), inverse);
                            for d in d..D {
                                row[$k + 1][d] = s.fnma(coefficient, r[d], row[$k + 1][d]);
                            }
                        }
                        for i in $k + 2..S::PANEL {
                            let coefficient = s.splat(*w.add(i));
                            for d in i / S::LANES..D {
                                row[i][d] = s.fnma(coefficient, r[d], row[i][d]);
                            }
                        }
                        for b in 0..2 {
                            if b < border {
                                let before = s.broadcast(q[b][$k / S::LANES], $k % S::LANES);
                                let after = s.mul(before, inverse);
                                for d in $k / S::LANES..D {
                                    q[b][d] = s.fnma(after, r[d], q[b][d]);
                                }
                                forward.before[b][$k] = s.first(before);
                                forward.after[b][$k] = s.first(after);
                            }
                        }
                        pivots[$k] = s.first(pivot);
                        forward.inverse[$k] = s.first(inverse);
                    }
                )*};
            }
            for_each_row!(step);
        }
    }

    /// The columns of w into `inside`, 16 elements for each. Only what is above the diagonal is w.
    ///
    /// # Safety
    /// `g` is valid for `rows` rows of `S::PANEL` elements, `stride` apart, and `inside` for `S::PANEL` columns.
    #[inline(always)]
    unsafe fn turn<S: Simd<Elem = T>>(self, s: S, inside: *mut T) {
        for first in (0..S::PANEL).step_by(S::LANES) {
            for column in (first..S::PANEL).step_by(S::LANES) {
                let mut square = [s.splat(T::ZERO); MOST_LANES];
                // SAFETY: as the caller vouches.
                unsafe {
                    for i in 0..S::LANES {
                        if first + i < self.rows {
                            square[i] = s.load(self.g.add((first + i) * self.stride + column));
                        }
                    }
                    s.transpose(&mut square);
                    for i in 0..S::LANES {
                        s.store(inside.add((column + i) * PANEL + first), square[i]);
                    }
                }
            }
        }
    }

    /// The same rows in another vector of columns, given w in the block: into `r`, and times the inverse pivots into `g`.
    ///
    /// # Safety
    /// The block has `S::PANEL` rows, all factored; `g` and `r` are valid for a vector in each of as many rows,
    /// `stride` apart.
    #[inline(always)]
    unsafe fn beside<S: Simd<Elem = T>>(self, s: S, g: *mut T, r: *mut T, inverse: &[T; PANEL]) {
        let mut row = [s.splat(T::ZERO); PANEL];
        // SAFETY: as the caller vouches.
        unsafe {
            for i in 0..S::PANEL {
                row[i] = s.load(g.add(i * self.stride));
            }
            macro_rules! step {
                ($($k:literal)*) => {$(
                    if $k < S::PANEL {
                        s.store(r.add($k * self.stride), row[$k]);
                        s.store(g.add($k * self.stride), s.mul(row[$k], s.splat(inverse[$k])));
                        for i in $k + 1..S::PANEL {
                            let w = s.splat(*self.g.add($k * self.stride + i));
                            row[i] = s.fnma(w, row[$k], row[i]);
                        }
                    }
                )*};
            }
            for_each_row!(step);
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
        let (vectors, whole) = (rank.div_ceil(S::LANES), rank / S::LANES);
        let (g, inside, x) = (self.g.as_ptr(), self.inside.as_ptr(), self.x.as_mut_ptr());
        // SAFETY: `solve` asserted the lengths: `g` has `rank` rows of `stride` elements, `inside`
        // 16 elements for each row, and `x` holds rank elements rounded up to 16.
        unsafe {
            for p in (0..rank).step_by(S::PANEL).rev() {
                let end = (p + S::PANEL).min(rank);
                let mut rest = [T::ZERO; PANEL];
                for i in p..end {
                    let row = g.add(i * stride + rank);
                    rest[i - p] = if border == 2 { *row - self.beta * *row.add(1) } else { *row };
                }
                if end < rank {
                    // Less what the unknowns after this panel give, the sums of a vector of rows at a time.
                    for first in (p..end).step_by(S::LANES) {
                        let mut sums = [s.splat(T::ZERO); MOST_LANES];
                        for j in end / S::LANES..vectors {
                            let column = j * S::LANES;
                            let x = s.load(x.add(column));
                            for i in 0..S::LANES {
                                let w = g.add((first + i) * stride + column);
                                // From column K on there may be anything, infinities too.
                                let w =
                                    if j < whole { s.load(w) } else { s.load_first(w, rank - column) };
                                sums[i] = s.fma(w, x, sums[i]);
                            }
                        }
                        s.transpose(&mut sums);
                        let mut half = S::LANES / 2;
                        while half > 0 {
                            for i in 0..half {
                                sums[i] = s.add(sums[i], sums[i + half]);
                            }
                            half /= 2;
                        }
                        let rest = rest.as_mut_ptr().add(first - p);
                        s.store(rest, s.fnma(s.splat(T::ONE), sums[0], s.load(rest)));
                    }
                }
                let columns = inside.add(p * PANEL);
                match S::PANEL / S::LANES {
                    1 => substitute::<S, 1>(s, &rest, columns, end - p, x.add(p)),
                    _ => substitute::<S, 2>(s, &rest, columns, end - p, x.add(p)),
                }
            }
        }
    }
}

/// The unknowns of a panel, in registers: x_k is final when all after it are, and is then subtracted from those
/// before it, times its column of W.
///
/// # Safety
/// `columns` is valid for `rows` columns of 16 elements, `x` for `Simd::PANEL` elements.
#[inline(always)]
unsafe fn substitute<S: Simd, const D: usize>(
    s: S,
    rest: &[S::Elem; PANEL],
    columns: *const S::Elem,
    rows: usize,
    x: *mut S::Elem,
) {
    // SAFETY: as the caller vouches; `rest` holds 16 elements.
    unsafe {
        let mut unknowns = [s.splat(S::Elem::ZERO); D];
        for d in 0..D {
            unknowns[d] = s.load(rest.as_ptr().add(d * S::LANES));
        }
        macro_rules! step {
            ($($back:literal)*) => {$({
                let k = PANEL - 1 - $back;
                if k < S::PANEL && k < rows {
                    let x_k = s.broadcast(unknowns[k / S::LANES], k % S::LANES);
                    for d in 0..=k / S::LANES {
                        let column = columns.add(k * PANEL + d * S::LANES);
                        let above = (k - d * S::LANES).min(S::LANES);
                        let column = if above < S::LANES { s.load_first(column, above) } else { s.load(column) };
                        unknowns[d] = s.fnma(x_k, column, unknowns[d]);
                    }
                }
            })*};
        }
        for_each_row!(step);
        for d in 0..D {
            s.store(x.add(d * S::LANES), unknowns[d]);
        }
    }
}
