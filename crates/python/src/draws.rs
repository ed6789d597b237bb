//! Rows drawn at random, and the products of sparse matrices that their priors need.

use halfstep_kernels::{self as kernels, Cells, Element, Noise, RowProblem, Terms};
use pyo3::prelude::*;

use crate::args::{ANY, In, Out, is_f64};
use crate::door::run;
use crate::{Any, F32, I64, PriorArray, U32, cells_of, chosen_isa};

/// Every row's solution, drawn from its posterior.
#[pyfunction]
#[allow(clippy::too_many_arguments)] // one per array of `_native.pyi`
pub fn draw_rows<'py>(
    py: Python<'py>,
    indptr: I64<'py>,
    indices: U32<'py>,
    values: F32<'py>,
    weights: Option<F32<'py>>,
    fixed: Any<'py>,
    offset: Option<Any<'py>>,
    terms: (f64, f64, f64, f64),
    prior: Any<'py>,
    linear: Any<'py>,
    noise: (u64, u32),
    out: Any<'py>,
    out_bias: Option<Any<'py>>,
    mean: Option<(Any<'py>, Option<Any<'py>>)>,
) -> PyResult<()> {
    let cells = cells_of(py, &indptr, &indices, &values, weights.as_ref())?;
    let noise = Noise { seed: noise.0, step: noise.1 };
    let floats = Floats { fixed, offset, prior, linear, out, out_bias, mean };
    if is_f64(&floats.fixed) {
        floats.draw::<f64>(py, cells, terms, noise)
    } else {
        floats.draw::<f32>(py, cells, terms, noise)
    }
}

/// The float arrays of `draw_rows`, all of one type.
struct Floats<'py> {
    fixed: Any<'py>,
    offset: Option<Any<'py>>,
    prior: Any<'py>,
    linear: Any<'py>,
    out: Any<'py>,
    out_bias: Option<Any<'py>>,
    mean: Option<(Any<'py>, Option<Any<'py>>)>,
}

impl Floats<'_> {
    fn draw<T: Element + numpy::Element>(
        &self,
        py: Python<'_>,
        cells: Cells<'_>,
        (a0, a1, b0, b1): (f64, f64, f64, f64),
        noise: Noise,
    ) -> PyResult<()> {
        let isa = chosen_isa(py)?;
        let fixed = In::<T>::of("fixed", &self.fixed, &[ANY, ANY])?;
        let (n, rank) = fixed.extents();
        let rows = cells.indptr.len().saturating_sub(1);
        let unknowns = rank + usize::from(self.out_bias.is_some());
        let offset = self.offset.as_ref().map(|o| In::<T>::of("offset", o, &[n])).transpose()?;
        let prior = PriorArray::<T>::of(&self.prior, unknowns)?;
        let linear = In::<T>::of("linear", &self.linear, &[ANY, unknowns])?;
        let mut out = Out::<T>::of("out", &self.out, &[rows, rank])?;
        let mut out_bias =
            self.out_bias.as_ref().map(|b| Out::<T>::of("out_bias", b, &[rows])).transpose()?;
        let mut mean = match &self.mean {
            None => None,
            Some((rows_of, bias)) => Some((
                Out::<T>::of("mean", rows_of, &[rows, rank])?,
                bias.as_ref().map(|b| Out::<T>::of("mean", b, &[rows])).transpose()?,
            )),
        };
        let problem = RowProblem {
            cells,
            fixed: fixed.slice(),
            rank,
            offset: offset.as_ref().map(In::slice),
            terms: Terms { a0, a1, b0, b1 },
            prior: Some(prior.get()),
            linear: Some(linear.slice()),
            ridge: &vec![T::ZERO; unknowns],
            scale: None,
        };
        let out = (out.slice(), out_bias.as_mut().map(Out::slice));
        let mean = mean.as_mut().map(|(rows, bias)| (rows.slice(), bias.as_mut().map(Out::slice)));
        let k = rank as f64;
        let work = cells.indices.len() as f64 * k * (k + 8.0) / 4.0 + rows as f64 * k * k * k / 3.0;
        run(py, work, |r| kernels::draw_rows(isa, r, &problem, noise, out, mean))
    }
}

/// C F of a sparse C and a dense F.
#[pyfunction]
pub fn multiply<'py>(
    py: Python<'py>,
    indptr: I64<'py>,
    indices: U32<'py>,
    values: F32<'py>,
    fixed: Any<'py>,
    out: Any<'py>,
) -> PyResult<()> {
    fn typed<T: Element + numpy::Element>(
        cells: Cells<'_>,
        fixed: &Any<'_>,
        out: &Any<'_>,
    ) -> PyResult<()> {
        let py = fixed.py();
        let isa = chosen_isa(py)?;
        let fixed = In::<T>::of("fixed", fixed, &[ANY, ANY])?;
        let (_, rank) = fixed.extents();
        let mut out = Out::<T>::of("out", out, &[cells.indptr.len().saturating_sub(1), rank])?;
        let (fixed, out) = (fixed.slice(), out.slice());
        let work = (cells.indices.len() * rank) as f64 / 2.0;
        run(py, work, |r| kernels::multiply(isa, r, &cells, fixed, rank, out))
    }
    let cells = cells_of(py, &indptr, &indices, &values, None)?;
    let call = if is_f64(&fixed) { typed::<f64> } else { typed::<f32> };
    call(cells, &fixed, &out)
}
