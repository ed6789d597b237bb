//! Stochastic gradient descent on losses that rank positives above drawn negatives.

use halfstep_kernels::{self as kernels, Element, Negatives, RankingLoss, RankingRows, RankingStep};
use numpy::{PyReadonlyArray1, PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::args::{ANY, Out, is_f64};
use crate::door::{internal, run};
use crate::{Any, Grid, I64, U32, chosen_isa, contiguous, lists_of};

/// How negatives are drawn: positives, ends, own, count, seed, epoch, anonymous.
type Drawn<'py> = ((I64<'py>, U32<'py>), Option<U32<'py>>, U32<'py>, usize, u64, u32, bool);
/// What all steps share: loss, rate, λ, growth, hard, margin, ranks, `items_fixed`.
type Shared<'py> = (String, f64, (f64, f64, f64), f64, bool, f64, PyReadonlyArray1<'py, f64>, bool);
/// Factors, bias, sums.
type Arrays<'py> = (Any<'py>, Option<Any<'py>>, Option<Any<'py>>);

/// An epoch: the number of cells that took a step.
#[pyfunction]
pub fn ranking_epoch<'py>(
    py: Python<'py>,
    grid: &Bound<'py, Grid>,
    schedule: PyReadonlyArray3<'py, i64>,
    negatives: Drawn<'py>,
    step: Shared<'py>,
    users: Arrays<'py>,
    items: Arrays<'py>,
) -> PyResult<u64> {
    let grid = &grid.get().0;
    let (positives, ends, own, count, seed, epoch, anonymous) = negatives;
    let negatives = Negatives {
        positives: lists_of(py, "positives", &positives)?,
        ends: ends.as_ref().map(|ends| contiguous(py, "ends", ends)).transpose()?,
        own: contiguous(py, "own", &own)?,
        count,
        seed,
        epoch,
        anonymous,
    };
    let (loss, rate, reg, growth, hard, margin, ranks, items_fixed) = step;
    let loss = match loss.as_str() {
        "bpr" => RankingLoss::Bpr,
        "warp" => RankingLoss::Warp,
        "logistic" => RankingLoss::Logistic,
        "softmax" => RankingLoss::Softmax,
        other => return Err(internal(py, &format!("there is no loss {other}"))),
    };
    let ranks = contiguous(py, "ranks", &ranks)?;
    let reg = reg.into();
    let step = RankingStep { loss, rate, reg, growth, hard, margin, ranks, items_fixed };
    if schedule.shape()[1..] != [grid.parts().0, 2] {
        return Err(internal(py, "schedule must be steps × user parts × 2"));
    }
    let schedule: Vec<[usize; 2]> = schedule
        .as_slice()
        .map_err(|_| internal(py, "schedule must be contiguous"))?
        .chunks_exact(2)
        .map(|pair| {
            let part = |q| usize::try_from(q).map_err(|_| internal(py, "schedule must be ≥ 0"));
            Ok([part(pair[0])?, part(pair[1])?])
        })
        .collect::<PyResult<_>>()?;
    let epoch = Epoch { grid, schedule: &schedule, negatives, step };
    if is_f64(&users.0) {
        epoch.run::<f64>(py, &users, &items)
    } else {
        epoch.run::<f32>(py, &users, &items)
    }
}

/// All but the arrays of floats.
struct Epoch<'a> {
    grid: &'a kernels::Grid,
    schedule: &'a [[usize; 2]],
    negatives: Negatives<'a>,
    step: RankingStep<'a>,
}

impl Epoch<'_> {
    fn run<'py, T: Element + numpy::Element>(
        self,
        py: Python<'py>,
        users: &Arrays<'py>,
        items: &Arrays<'py>,
    ) -> PyResult<u64> {
        let isa = chosen_isa(py)?;
        let (m, n) = self.grid.rows();
        let mut users = Borrowed::<T>::of(users, m, ANY)?;
        let rank = users.factors.extents().1;
        let mut items = Borrowed::<T>::of(items, n, rank)?;
        let looks = self.negatives.count + self.step.ranks.len();
        let work = self.grid.cells().len() as f64 * (rank as f64 + 50.0) * (looks as f64 + 1.0);
        let rows = (users.rows(), items.rows());
        run(py, work, |r| {
            kernels::ranking_epoch(
                isa,
                r,
                self.grid,
                self.schedule,
                &self.negatives,
                rank,
                self.step,
                rows,
            )
        })
    }
}

/// The arrays of a side, borrowed.
struct Borrowed<'py, T: Element + numpy::Element> {
    factors: Out<'py, T>,
    bias: Option<Out<'py, T>>,
    sums: Option<Out<'py, T>>,
}

impl<'py, T: Element + numpy::Element> Borrowed<'py, T> {
    fn of((factors, bias, sums): &Arrays<'py>, rows: usize, rank: usize) -> PyResult<Self> {
        let of_rows = |name: &str, array: &Option<Any<'py>>| {
            array.as_ref().map(|a| Out::<T>::of(name, a, &[rows])).transpose()
        };
        Ok(Borrowed {
            factors: Out::of("factors", factors, &[rows, rank])?,
            bias: of_rows("bias", bias)?,
            sums: of_rows("sums", sums)?,
        })
    }

    fn rows(&mut self) -> RankingRows<'_, T> {
        RankingRows {
            factors: self.factors.slice(),
            bias: self.bias.as_mut().map(Out::slice),
            sums: self.sums.as_mut().map(Out::slice),
        }
    }
}
