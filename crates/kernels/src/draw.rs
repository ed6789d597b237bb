//! Draw every row: x ~ N(A⁻¹ h, A⁻¹), the systems of rows.rs.
//!
//! ```text
//! A = P + Σ a f fᵀ = Wᵀ D W,   h = q + Σ b f                rows.rs, cholesky.rs
//! x = W⁻¹ (D⁻¹ W⁻ᵀ h + D^−½ ε),   ε ~ N(0, I)               the noise added before the last triangular solve
//! ```
//!
//! Without the noise it is the row's mean, which is had for one more substitution.
//!
//! A Gibbs half-step is this with P the precision of the row's prior and q that times its mean (Salakhutdinov and Mnih,
//! «Bayesian probabilistic matrix factorization using Markov chain Monte Carlo», 2008, eq. 11 to 14). ε of a row is that
//! of random.rs for the row's number, the bias after the factors.

use crate::accumulate::{Accumulator, Sum};
use crate::cholesky::{self, Workspace};
use crate::each_row::RowSolver;
use crate::error::{Error, Result};
use crate::parallel::{Run, Shared};
use crate::random::Noise;
use crate::rows::{RowProblem, System, each_system};
use crate::simd::{Element, Isa, Simd};
use crate::tile::Layout;

/// Draw every row's solution into `out` (rows × K) and `out_bias` (rows; its presence lengthens every f by a
/// constant 1), and write its mean A⁻¹ h into `mean`, arrays of the same shapes. The problem must have P and q, so
/// that a row without cells is drawn from its prior.
///
/// # Errors
/// `Error::Singular` with the smallest row whose matrix is not positive definite; `Error::Contract`;
/// `Error::Cancelled`.
pub fn draw_rows<T: Element>(
    isa: Isa,
    run: Run<'_>,
    problem: &RowProblem<'_, T>,
    noise: Noise,
    (out, out_bias): (&mut [T], Option<&mut [T]>),
    mean: Option<(&mut [T], Option<&mut [T]>)>,
) -> Result<()> {
    let p = *problem;
    p.check(out.len(), out_bias.as_ref().map(|b| b.len()))?;
    if let Some((rows, bias)) = &mean {
        p.check(rows.len(), bias.as_ref().map(|b| b.len()))?;
    }
    if p.prior.is_none() || p.linear.is_none() {
        return Err(Error::contract("prior and linear must be given"));
    }
    let layout = Layout::new::<T>(p.rank, 1 + usize::from(out_bias.is_some()));
    let k = p.rank as f64;
    let cost =
        |u: usize| p.cells.row(u).len() as f64 * k * (k + 8.0) + k * k * (k / 3.0 + 16.0) + k * 64.0;
    let mean = mean.map(|(rows, bias)| (Shared::new(rows), bias.map(Shared::new)));
    let solver = |given: Option<&Sum<T>>| Drawn {
        system: System::new(&p, run, layout, given),
        workspace: Workspace::new(layout),
        noise,
        normals: vec![T::ZERO; p.rank + 1],
        mean: mean.as_ref(),
    };
    each_system(isa, run, &p, (layout, |_| true, cost), solver, (out, out_bias))
}

/// One thread's scratch.
struct Drawn<'a, 'p, T> {
    system: System<'a, 'p, T>,
    workspace: Workspace<T>,
    noise: Noise,
    /// ε: K of the factors, one of the bias.
    normals: Vec<T>,
    mean: Option<&'a Means<'a, T>>,
}

/// Where the means of the factors and biases of all rows go.
type Means<'a, T> = (Shared<'a, T>, Option<Shared<'a, T>>);

impl<T: Element> RowSolver<T> for Drawn<'_, '_, T> {
    #[inline(always)]
    fn solve<S: Simd<Elem = T>>(
        &mut self,
        simd: S,
        u: usize,
        x: &mut [T],
        bias: &mut Option<T>,
    ) -> Result<bool> {
        if self.system.elsewhere(u) {
            return Ok(true);
        }
        let corner = self.system.assemble(simd, u)?;
        self.noise.normals(u, &mut self.normals);
        let Self { system, normals, workspace, .. } = self;
        let Accumulator { layout, sum, .. } = &mut system.accumulator;
        let Ok(factored) = cholesky::factor(simd, *layout, &mut sum.g, corner, workspace) else {
            return Ok(false);
        };
        if let Some((rows, biases)) = self.mean {
            let Ok(own) = cholesky::mean(simd, *layout, &sum.g, factored, workspace) else {
                return Ok(false);
            };
            // SAFETY: no other thread solves this row.
            unsafe { rows.range(u * x.len()..(u + 1) * x.len()) }
                .copy_from_slice(&workspace.x[..x.len()]);
            if let Some(biases) = biases {
                // SAFETY: the same.
                let place = unsafe { biases.range(u..u + 1) };
                place[0] = own;
            }
        }
        let drawn = cholesky::draw(simd, *layout, &mut sum.g, factored, normals, workspace);
        x.copy_from_slice(&self.workspace.x[..x.len()]);
        *bias = bias.map(|_| drawn.unwrap_or(T::ZERO));
        Ok(drawn.is_ok())
    }
}
