//! The kernels of halfstep: the row problem, top-N and their helpers, in pure Rust without Python.
//!
//! | file | what |
//! |---|---|
//! | `rows.rs` | every row's linear system |
//! | `tile.rs` | the register tile under the assembly and the factorization |
//! | `accumulate.rs` | gather and sum: Σ a f fᵀ, Σ b f |
//! | `cholesky.rs` | A = WᵀDW and the solves, with checked pivots |
//! | `gram.rs` | Fᵀ diag(s) F |
//! | `score.rs` | predictions and their squared error |
//! | `topk.rs` | the best items of every query: in full, or through a filter |
//! | `bytes.rs` | the tile of eight-bit products under that filter |
//! | `csr.rs` | sorting and transposing cells |
//! | `simd.rs` | instruction sets, chosen at run time |
//! | `parallel.rs` | threads, cancelling |
//!
//! Every result is the same bits for any number of threads.

mod accumulate;
mod buffer;
mod bytes;
mod cells;
mod cholesky;
mod csr;
mod error;
mod gram;
mod parallel;
mod rows;
mod score;
mod simd;
mod tile;
mod topk;

pub use cells::Cells;
pub use csr::{Sorted, sort_pairs, transpose};
pub use error::{Error, Result};
pub use gram::gram;
pub use parallel::Run;
pub use rows::{RowProblem, Terms, solve_rows};
pub use score::{Model, predict, squared_error};
pub use simd::{Element, Isa};
pub use topk::{Lists, Ranking, topk};
