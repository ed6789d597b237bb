//! The squared error along a line.

use halfstep_kernels::{self as kernels, Cells, Element};
use pyo3::prelude::*;

use crate::args::is_f64;
use crate::door::run;
use crate::{Any, F32, I64, ModelArrays, U32, cells_of};

/// W, Z, b_u and b_i.
type Arrays<'py> = (Any<'py>, Any<'py>, Option<Any<'py>>, Option<Any<'py>>);

/// The coefficients of Σ c (v − r̂)² along a line of models.
#[pyfunction]
#[allow(clippy::too_many_arguments)] // one per array of `_native.pyi`
pub fn line_errors<'py>(
    py: Python<'py>,
    indptr: I64<'py>,
    indices: U32<'py>,
    values: F32<'py>,
    weights: Option<F32<'py>>,
    model: Arrays<'py>,
    way: Arrays<'py>,
    mean: f64,
) -> PyResult<[f64; 5]> {
    fn typed<T: Element + numpy::Element>(
        py: Python<'_>,
        model: &ModelArrays<'_>,
        way: &ModelArrays<'_>,
        cells: &Cells<'_>,
    ) -> PyResult<[f64; 5]> {
        model.with::<T, _>(|isa, m| {
            way.with::<T, _>(|_, w| {
                let work = cells.indices.len() as f64 * (m.rank as f64 + 20.0);
                run(py, work, |r| kernels::line_errors(isa, r, &m, &w, cells))
            })
        })
    }
    let arrays = |(users, items, user_bias, item_bias): Arrays<'py>| ModelArrays {
        users,
        items,
        user_bias,
        item_bias,
        mean,
    };
    let cells = cells_of(py, &indptr, &indices, &values, weights.as_ref())?;
    let (model, way) = (arrays(model), arrays(way));
    let call = if is_f64(&model.users) { typed::<f64> } else { typed::<f32> };
    call(py, &model, &way, &cells)
}
