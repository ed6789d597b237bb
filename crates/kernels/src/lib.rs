//! The kernels of halfstep: the row problem, top-N and their helpers, in pure Rust without Python.
//!
//! | file | what |
//! |---|---|
//! | `rows.rs` | every row's linear system |
//! | `tile.rs` | the register tile under the assembly and the factorization |
//! | `accumulate.rs` | sums over cells: Σ a f fᵀ, Σ b f |
//! | `split.rs` | the same for sums too long for one thread |
//! | `cholesky.rs` | A = WᵀDW and the solves, with checked pivots |
//! | `draw.rs` | every row's solution, drawn |
//! | `random.rs` | random numbers by counter |
//! | `each_row.rs` | all rows, by a solver of one |
//! | `dual.rs` | the systems of rows with few cells |
//! | `full.rs` | the systems of rows that observe every column |
//! | `nonnegative.rs` | every row's problem with factors ≥ 0 |
//! | `cg.rs` | every row's system by conjugate gradients |
//! | `packed.rs` | the cells of a row, gathered once, and sums over them |
//! | `subspace.rs` | every row's system by blocks of unknowns |
//! | `variance.rs` | fᵀ A⁻¹ f of every row: how sure it is |
//! | `gram.rs` | Fᵀ diag(s) F |
//! | `multiply.rs` | C F for sparse C |
//! | `rotate.rs` | F Q |
//! | `sgd.rs` | an epoch of stochastic gradient descent |
//! | `ranking.rs` | the same for losses of positives against drawn negatives |
//! | `negatives.rs` | how these are drawn |
//! | `cosine.rs` | an epoch of the cosine contrastive loss, by blocks of users with shared draws |
//! | `grid.rs` | the order in which both visit the cells |
//! | `score.rs` | predictions and their squared error |
//! | `line.rs` | that error along a line |
//! | `gradient.rs` | the gradient of that error |
//! | `topk.rs` | the best items of every query: in full, or through a filter |
//! | `bytes.rs` | the tile of eight-bit products under that filter |
//! | `csr.rs` | sorting and transposing cells |
//! | `ids.rs` | integer ids as row numbers |
//! | `take.rs` | an array in another order |
//! | `simd.rs` | instruction sets, chosen at run time |
//! | `parallel.rs` | threads, cancelling |
//!
//! Every result is the same bits for any number of threads.

mod accumulate;
mod buffer;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // its tiles are for x86
mod bytes;
mod cells;
mod cg;
mod cholesky;
mod cosine;
mod csr;
mod draw;
mod dual;
mod each_row;
mod error;
mod full;
mod gradient;
mod gram;
mod grid;
mod ids;
mod line;
mod multiply;
mod negatives;
mod nonnegative;
mod packed;
mod parallel;
mod random;
mod ranking;
mod rotate;
mod rows;
mod score;
mod sgd;
mod simd;
mod split;
mod subspace;
mod take;
mod tile;
mod topk;
mod variance;

pub use cells::Cells;
pub use cg::{Cg, solve_rows_cg};
pub use cosine::{CosineBlocks, CosineRows, CosineStep, cosine_epoch};
pub use csr::{Sorted, Transposed, sort_pairs, transpose};
pub use draw::draw_rows;
pub use error::{Error, Result};
pub use gradient::gradient;
pub use gram::gram;
pub use grid::{Grid, Parts};
pub use ids::{Factorized, Integer, factorize};
pub use line::line_errors;
pub use multiply::multiply;
pub use negatives::Negatives;
pub use nonnegative::solve_rows_nonnegative;
pub use parallel::Run;
pub use random::Noise;
pub use ranking::{RankingLoss, RankingRows, RankingStep, ranking_epoch};
pub use rotate::rotate;
pub use rows::{Prior, RowProblem, Terms, solve_rows};
pub use score::{Model, predict, squared_error};
pub use sgd::{Rows, Step, sgd_epoch};
pub use simd::{Element, Isa};
pub use subspace::solve_rows_subspace;
pub use take::take;
pub use topk::{Lists, Ranking, topk};
pub use variance::{Questions, row_variances};
