//! halfstep's kernels as Python calls them: arguments checked, then the work through one door.
//!
//! `src/halfstep/_native.pyi` describes every function; nothing is computed here.

mod args;
mod cosine;
mod door;
mod draws;
mod line;
mod ranking;

use halfstep_kernels::{
    self as kernels, Cells, Cg, Element, Isa, Lists, Model, Parts, Prior, Questions, Ranking,
    RowProblem, Rows, Step, Terms,
};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::prelude::*;

use args::{ANY, In, Out, is_f64};
use door::{SingularSystem, internal, parameter, run};

type Any<'py> = Bound<'py, PyAny>;
type I64<'py> = PyReadonlyArray1<'py, i64>;
type U32<'py> = PyReadonlyArray1<'py, u32>;
type F32<'py> = PyReadonlyArray1<'py, f32>;
type Array<'py, T> = Bound<'py, PyArray1<T>>;
type Moved<'py> = (Array<'py, u32>, Array<'py, u32>);
type CellArrays<'py> = (Array<'py, i64>, Array<'py, u32>, Array<'py, f32>, Option<Array<'py, f32>>);

fn chosen_isa(py: Python<'_>) -> PyResult<Isa> {
    Isa::chosen().map_err(|name| {
        let names = available_isas().join(", ");
        let rule = "is not an instruction set of this machine";
        parameter(py, "HALFSTEP_ISA", name, rule, &format!("choose one of {names}, or unset it"))
    })
}

fn contiguous<'a, T: numpy::Element>(
    py: Python<'_>,
    name: &str,
    array: &'a PyReadonlyArray1<'_, T>,
) -> PyResult<&'a [T]> {
    array.as_slice().map_err(|_| internal(py, &format!("{name} must be contiguous")))
}

/// Cells of these arrays; the kernels check that they fit together.
fn cells_of<'a>(
    py: Python<'_>,
    indptr: &'a I64<'_>,
    indices: &'a U32<'_>,
    values: &'a F32<'_>,
    weights: Option<&'a F32<'_>>,
) -> PyResult<Cells<'a>> {
    Ok(Cells {
        indptr: contiguous(py, "indptr", indptr)?,
        indices: contiguous(py, "indices", indices)?,
        values: contiguous(py, "values", values)?,
        weights: weights.map(|w| contiguous(py, "weights", w)).transpose()?,
    })
}

/// Item lists, one per query: offsets and items.
fn lists_of<'a>(
    py: Python<'_>,
    name: &str,
    (indptr, indices): &'a (I64<'_>, U32<'_>),
) -> PyResult<Lists<'a>> {
    Ok((contiguous(py, name, indptr)?, contiguous(py, name, indices)?))
}

/// The instruction set in use.
#[pyfunction]
fn isa(py: Python<'_>) -> PyResult<&'static str> {
    Ok(chosen_isa(py)?.name())
}

/// The instruction sets that this processor has.
#[pyfunction]
fn available_isas() -> Vec<&'static str> {
    Isa::available().into_iter().map(Isa::name).collect()
}

/// The number of threads in use.
#[pyfunction]
fn get_num_threads(py: Python<'_>) -> PyResult<usize> {
    door::threads(py)
}

/// Use `n` threads from now on.
#[pyfunction]
fn set_num_threads(py: Python<'_>, n: usize) -> PyResult<()> {
    door::set_threads(py, n)
}

/// The distinct integers of an array, ascending, and the position of each element among them.
#[pyfunction]
fn factorize<'py>(py: Python<'py>, values: Any<'py>) -> PyResult<(Array<'py, i64>, Array<'py, u32>)> {
    fn typed<'py, I: kernels::Integer + numpy::Element>(
        py: Python<'py>,
        values: &PyReadonlyArray1<'py, I>,
    ) -> PyResult<(Array<'py, i64>, Array<'py, u32>)> {
        let values = contiguous(py, "values", values)?;
        let (distinct, codes) = run(py, values.len() as f64 * 20.0, |r| kernels::factorize(r, values))?;
        Ok((distinct.into_pyarray(py), codes.into_pyarray(py)))
    }
    match values.extract::<PyReadonlyArray1<'py, i32>>() {
        Ok(narrow) => typed(py, &narrow),
        Err(_) => typed(py, &values.extract::<I64<'py>>()?),
    }
}

/// Order (row, column) pairs.
#[pyfunction]
fn sort_pairs<'py>(
    py: Python<'py>,
    rows: U32<'py>,
    columns: U32<'py>,
    n_rows: usize,
    n_columns: usize,
) -> PyResult<(Array<'py, i64>, Option<Moved<'py>>, usize)> {
    let (rows, columns) = (contiguous(py, "rows", &rows)?, contiguous(py, "columns", &columns)?);
    let work = rows.len() as f64 * 20.0;
    let sorted = run(py, work, |r| kernels::sort_pairs(r, rows, columns, n_rows, n_columns))?;
    let moved = sorted.moved.map(|(indices, order)| (indices.into_pyarray(py), order.into_pyarray(py)));
    Ok((sorted.indptr.into_pyarray(py), moved, sorted.repeats))
}

/// The same cells by column.
#[pyfunction]
fn transpose<'py>(
    py: Python<'py>,
    indptr: I64<'py>,
    indices: U32<'py>,
    values: F32<'py>,
    weights: Option<F32<'py>>,
    n_columns: usize,
) -> PyResult<CellArrays<'py>> {
    let cells = cells_of(py, &indptr, &indices, &values, weights.as_ref())?;
    let work = cells.indices.len() as f64 * 20.0;
    let (indptr, indices, values, weights) =
        run(py, work, |r| kernels::transpose(r, &cells, n_columns))?;
    let weights = weights.map(|w| w.into_pyarray(py));
    Ok((indptr.into_pyarray(py), indices.into_pyarray(py), values.into_pyarray(py), weights))
}

/// The elements of an array in another order.
#[pyfunction]
fn take<'py>(py: Python<'py>, values: Any<'py>, order: U32<'py>) -> PyResult<Any<'py>> {
    fn typed<'py, T: numpy::Element + Copy + Default>(
        values: &Any<'py>,
        order: &[u32],
    ) -> Option<PyResult<Any<'py>>> {
        let py = values.py();
        let values = values.extract::<PyReadonlyArray1<'py, T>>().ok()?;
        Some(contiguous(py, "values", &values).and_then(|values| {
            let taken = run(py, order.len() as f64 * 5.0, |r| kernels::take(r, values, order))?;
            Ok(taken.into_pyarray(py).into_any())
        }))
    }
    let order = contiguous(py, "order", &order)?;
    typed::<f32>(&values, order)
        .or_else(|| typed::<f64>(&values, order))
        .or_else(|| typed::<i64>(&values, order))
        .unwrap_or_else(|| Err(internal(py, "values must be an array of f32, f64 or i64")))
}

/// Fᵀ diag(s) F.
#[pyfunction]
fn gram<'py>(
    py: Python<'py>,
    factors: Any<'py>,
    scale: Option<Any<'py>>,
    out: Any<'py>,
) -> PyResult<()> {
    fn typed<'py, T: Element + numpy::Element>(
        py: Python<'py>,
        factors: &Any<'py>,
        scale: Option<&Any<'py>>,
        out: &Any<'py>,
    ) -> PyResult<()> {
        let isa = chosen_isa(py)?;
        let factors = In::<T>::of("factors", factors, &[ANY, ANY])?;
        let (n, rank) = factors.extents();
        let scale = scale.map(|s| In::<T>::of("scale", s, &[n])).transpose()?;
        let mut out = Out::<T>::of("out", out, &[rank, rank])?;
        let rows = factors.slice();
        let (scale, out) = (scale.as_ref().map(In::slice), out.slice());
        let work = rows.len() as f64 * rank as f64;
        run(py, work, |r| kernels::gram(isa, r, rows, rank, scale, out))
    }
    let call = if is_f64(&factors) { typed::<f64> } else { typed::<f32> };
    call(py, &factors, scale.as_ref(), &out)
}

/// F Q.
#[pyfunction]
fn rotate<'py>(py: Python<'py>, factors: Any<'py>, basis: Any<'py>, out: Any<'py>) -> PyResult<()> {
    fn typed<'py, T: Element + numpy::Element>(
        py: Python<'py>,
        factors: &Any<'py>,
        basis: &Any<'py>,
        out: &Any<'py>,
    ) -> PyResult<()> {
        let isa = chosen_isa(py)?;
        let factors = In::<T>::of("factors", factors, &[ANY, ANY])?;
        let (n, rank) = factors.extents();
        let basis = In::<T>::of("basis", basis, &[rank, rank])?;
        let mut out = Out::<T>::of("out", out, &[n, rank])?;
        let (rows, basis, out) = (factors.slice(), basis.slice(), out.slice());
        let work = rows.len() as f64 * rank as f64;
        run(py, work, |r| kernels::rotate(isa, r, rows, rank, basis, out))
    }
    let call = if is_f64(&factors) { typed::<f64> } else { typed::<f32> };
    call(py, &factors, &basis, &out)
}

/// P of `solve_rows`: of one dimension where it is the diagonal alone.
struct PriorArray<'py, T: Element + numpy::Element> {
    entries: In<'py, T>,
    diagonal: bool,
}

impl<'py, T: Element + numpy::Element> PriorArray<'py, T> {
    fn of(array: &Any<'py>, unknowns: usize) -> PyResult<Self> {
        let diagonal = array.getattr("ndim").and_then(|n| n.extract::<usize>()).is_ok_and(|n| n == 1);
        let shape = if diagonal { &[unknowns][..] } else { &[unknowns, unknowns] };
        Ok(Self { entries: In::of("prior", array, shape)?, diagonal })
    }

    fn get(&self) -> Prior<'_, T> {
        let entries = self.entries.slice();
        if self.diagonal { Prior::Diagonal(entries) } else { Prior::Dense(entries) }
    }
}

/// Every row's linear system, solved.
#[pyfunction]
#[pyo3(signature = (
    indptr, indices, values, weights, fixed, offset, terms, prior, linear, ridge, scale, out, out_bias,
    method = None
))]
#[allow(clippy::too_many_arguments)] // one per array of `_native.pyi`
fn solve_rows<'py>(
    py: Python<'py>,
    indptr: I64<'py>,
    indices: U32<'py>,
    values: F32<'py>,
    weights: Option<F32<'py>>,
    fixed: Any<'py>,
    offset: Option<Any<'py>>,
    terms: (f64, f64, f64, f64),
    prior: Option<Any<'py>>,
    linear: Option<Any<'py>>,
    ridge: Any<'py>,
    scale: Option<Any<'py>>,
    out: Any<'py>,
    out_bias: Option<Any<'py>>,
    method: Option<(String, usize, f64)>,
) -> PyResult<()> {
    let cells = cells_of(py, &indptr, &indices, &values, weights.as_ref())?;
    let method = match method {
        None => Method::Cholesky,
        Some((name, steps, tol)) if name == "cg" => Method::Cg(Cg { steps, tol }),
        Some((name, block, 0.0)) if name == "subspace" => Method::Subspace(block),
        Some((name, 0, 0.0)) if name == "nonnegative" => Method::Nonnegative,
        Some(other) => return Err(internal(py, &format!("method {other:?} is not known"))),
    };
    let floats = RowArrays { fixed, offset, prior, linear, ridge, scale, out, out_bias };
    if is_f64(&floats.fixed) {
        floats.solve::<f64>(py, cells, terms, method)
    } else {
        floats.solve::<f32>(py, cells, terms, method)
    }
}

/// How every row's system is solved.
#[derive(Clone, Copy)]
enum Method {
    Cholesky,
    Cg(Cg),
    Subspace(usize),
    Nonnegative,
}

/// The float arrays of `solve_rows`, all of one type.
struct RowArrays<'py> {
    fixed: Any<'py>,
    offset: Option<Any<'py>>,
    prior: Option<Any<'py>>,
    linear: Option<Any<'py>>,
    ridge: Any<'py>,
    scale: Option<Any<'py>>,
    out: Any<'py>,
    out_bias: Option<Any<'py>>,
}

impl<'py> RowArrays<'py> {
    fn solve<T: Element + numpy::Element>(
        &self,
        py: Python<'py>,
        cells: Cells<'_>,
        (a0, a1, b0, b1): (f64, f64, f64, f64),
        method: Method,
    ) -> PyResult<()> {
        let isa = chosen_isa(py)?;
        let optional = |name: &str, array: &Option<Any<'py>>, shape: &[usize]| {
            array.as_ref().map(|a| In::<T>::of(name, a, shape)).transpose()
        };
        let fixed = In::<T>::of("fixed", &self.fixed, &[ANY, ANY])?;
        let (n, rank) = fixed.extents();
        let rows = cells.indptr.len().saturating_sub(1);
        let unknowns = rank + usize::from(self.out_bias.is_some());
        let ridge = In::<T>::of("ridge", &self.ridge, &[unknowns])?;
        let offset = optional("offset", &self.offset, &[n])?;
        let prior = self.prior.as_ref().map(|p| PriorArray::<T>::of(p, unknowns)).transpose()?;
        let linear = optional("linear", &self.linear, &[ANY, unknowns])?;
        let scale = optional("scale", &self.scale, &[rows])?;
        let mut out = Out::<T>::of("out", &self.out, &[rows, rank])?;
        let mut out_bias =
            self.out_bias.as_ref().map(|b| Out::<T>::of("out_bias", b, &[rows])).transpose()?;
        let problem = RowProblem {
            cells,
            fixed: fixed.slice(),
            rank,
            offset: offset.as_ref().map(In::slice),
            terms: Terms { a0, a1, b0, b1 },
            prior: prior.as_ref().map(PriorArray::get),
            linear: linear.as_ref().map(In::slice),
            ridge: ridge.slice(),
            scale: scale.as_ref().map(In::slice),
        };
        let (out, out_bias) = (out.slice(), out_bias.as_mut().map(Out::slice));
        let k = problem.rank as f64;
        let (n, m) = (cells.indices.len() as f64, rows as f64);
        match method {
            Method::Cholesky => {
                let work = n * k * (k + 8.0) / 4.0 + m * k * k * k / 3.0;
                run(py, work, |r| kernels::solve_rows(isa, r, &problem, out, out_bias))
            }
            Method::Cg(cg) => {
                let work = (n + m) * k * cg.steps as f64;
                run(py, work, |r| kernels::solve_rows_cg(isa, r, &problem, cg, out, out_bias))
            }
            Method::Subspace(block) => {
                let b = block.min(problem.rank) as f64;
                let work = n * k * (b + 16.0) / 4.0 + m * k * b * b / 3.0;
                run(py, work, |r| kernels::solve_rows_subspace(isa, r, &problem, block, out, out_bias))
            }
            Method::Nonnegative => {
                let work = n * k * (k + 8.0) / 4.0 + 4.0 * m * k * k * k / 3.0;
                run(py, work, |r| kernels::solve_rows_nonnegative(isa, r, &problem, out, out_bias))
            }
        }
    }
}

/// fᵀ A⁻¹ f of every row's matrix A for the vectors f that it is asked about.
#[pyfunction]
#[allow(clippy::too_many_arguments)] // one per array of `_native.pyi`
fn row_variances<'py>(
    py: Python<'py>,
    indptr: I64<'py>,
    indices: U32<'py>,
    values: F32<'py>,
    weights: Option<F32<'py>>,
    fixed: Any<'py>,
    terms: (f64, f64, f64, f64),
    prior: Option<Any<'py>>,
    ridge: Any<'py>,
    scale: Option<Any<'py>>,
    asked: (I64<'py>, U32<'py>),
    vectors: Any<'py>,
    out: Any<'py>,
) -> PyResult<()> {
    let cells = cells_of(py, &indptr, &indices, &values, weights.as_ref())?;
    let asked = lists_of(py, "asked", &asked)?;
    let floats = MatrixArrays { fixed, prior, ridge, scale, vectors, out };
    if is_f64(&floats.fixed) {
        floats.variances::<f64>(py, cells, terms, asked)
    } else {
        floats.variances::<f32>(py, cells, terms, asked)
    }
}

/// The float arrays of `row_variances`, all of one type.
struct MatrixArrays<'py> {
    fixed: Any<'py>,
    prior: Option<Any<'py>>,
    ridge: Any<'py>,
    scale: Option<Any<'py>>,
    vectors: Any<'py>,
    out: Any<'py>,
}

impl<'py> MatrixArrays<'py> {
    fn variances<T: Element + numpy::Element>(
        &self,
        py: Python<'py>,
        cells: Cells<'_>,
        (a0, a1, b0, b1): (f64, f64, f64, f64),
        (indptr, indices): Lists<'_>,
    ) -> PyResult<()> {
        let isa = chosen_isa(py)?;
        let fixed = In::<T>::of("fixed", &self.fixed, &[ANY, ANY])?;
        let rank = fixed.extents().1;
        let rows = cells.indptr.len().saturating_sub(1);
        let ridge = In::<T>::of("ridge", &self.ridge, &[ANY])?;
        let unknowns = ridge.slice().len();
        if unknowns != rank && unknowns != rank + 1 {
            return Err(internal(py, "ridge must have K entries, or K + 1 with a bias"));
        }
        let prior = self.prior.as_ref().map(|p| PriorArray::<T>::of(p, unknowns)).transpose()?;
        let scale = self.scale.as_ref().map(|a| In::<T>::of("scale", a, &[rows])).transpose()?;
        let vectors = In::<T>::of("vectors", &self.vectors, &[ANY, rank])?;
        let mut out = Out::<T>::of("out", &self.out, &[indices.len()])?;
        let problem = RowProblem {
            cells,
            fixed: fixed.slice(),
            rank,
            offset: None,
            terms: Terms { a0, a1, b0, b1 },
            prior: prior.as_ref().map(PriorArray::get),
            linear: None,
            ridge: ridge.slice(),
            scale: scale.as_ref().map(In::slice),
        };
        let asked = Questions { indptr, indices, vectors: vectors.slice() };
        let (bias, out) = (unknowns > rank, out.slice());
        let (k, n) = (rank as f64, (cells.indices.len() + indices.len()) as f64);
        let work = n * k * (k + 8.0) / 4.0 + rows as f64 * k * k * k / 3.0;
        run(py, work, |r| kernels::row_variances(isa, r, &problem, bias, &asked, out))
    }
}

/// The float arrays of a model, all of one type.
struct ModelArrays<'py> {
    users: Any<'py>,
    items: Any<'py>,
    user_bias: Option<Any<'py>>,
    item_bias: Option<Any<'py>>,
    mean: f64,
}

impl<'py> ModelArrays<'py> {
    fn with<T: Element + numpy::Element, R>(
        &self,
        work: impl FnOnce(Isa, Model<'_, T>) -> PyResult<R>,
    ) -> PyResult<R> {
        let users = In::<T>::of("users", &self.users, &[ANY, ANY])?;
        let (m, rank) = users.extents();
        let items = In::<T>::of("items", &self.items, &[ANY, rank])?;
        let (n, _) = items.extents();
        let user_bias =
            self.user_bias.as_ref().map(|b| In::<T>::of("user_bias", b, &[m])).transpose()?;
        let item_bias =
            self.item_bias.as_ref().map(|b| In::<T>::of("item_bias", b, &[n])).transpose()?;
        let model = Model {
            rank,
            users: users.slice(),
            items: items.slice(),
            user_bias: user_bias.as_ref().map(In::slice),
            item_bias: item_bias.as_ref().map(In::slice),
            mean: self.mean,
        };
        work(chosen_isa(self.users.py())?, model)
    }
}

/// Σ c (v − r̂)².
#[pyfunction]
#[allow(clippy::too_many_arguments)] // one per array of `_native.pyi`
fn squared_error<'py>(
    py: Python<'py>,
    indptr: I64<'py>,
    indices: U32<'py>,
    values: F32<'py>,
    weights: Option<F32<'py>>,
    users: Any<'py>,
    items: Any<'py>,
    user_bias: Option<Any<'py>>,
    item_bias: Option<Any<'py>>,
    mean: f64,
    by_row: Option<Any<'py>>,
) -> PyResult<f64> {
    fn typed<T: Element + numpy::Element>(
        py: Python<'_>,
        model: &ModelArrays<'_>,
        cells: &Cells<'_>,
        by_row: Option<&Any<'_>>,
    ) -> PyResult<f64> {
        let mut by_row = by_row.map(|b| Out::<f64>::of("by_row", b, &[ANY])).transpose()?;
        let by_row = by_row.as_mut().map(Out::slice);
        model.with::<T, _>(|isa, m| {
            let work = cells.indices.len() as f64 * (m.rank as f64 + 20.0) / 4.0;
            run(py, work, |r| kernels::squared_error(isa, r, &m, cells, by_row))
        })
    }
    let cells = cells_of(py, &indptr, &indices, &values, weights.as_ref())?;
    let call = if is_f64(&users) { typed::<f64> } else { typed::<f32> };
    call(py, &ModelArrays { users, items, user_bias, item_bias, mean }, &cells, by_row.as_ref())
}

/// The gradient of ½ Σ c (v − r̂)² in the rows of one side; Σ c (v − r̂)².
#[pyfunction]
#[allow(clippy::too_many_arguments)] // one per array of `_native.pyi`
fn gradient<'py>(
    py: Python<'py>,
    indptr: I64<'py>,
    indices: U32<'py>,
    values: F32<'py>,
    weights: Option<F32<'py>>,
    rows: Any<'py>,
    fixed: Any<'py>,
    bias: Option<Any<'py>>,
    offset: Option<Any<'py>>,
    mean: f64,
    out: Any<'py>,
    out_bias: Option<Any<'py>>,
) -> PyResult<f64> {
    fn typed<'py, T: Element + numpy::Element>(
        py: Python<'py>,
        model: &ModelArrays<'py>,
        cells: &Cells<'_>,
        (out, out_bias): (&Any<'py>, Option<&Any<'py>>),
    ) -> PyResult<f64> {
        model.with::<T, _>(|isa, m| {
            let count = cells.indptr.len().saturating_sub(1);
            let mut out = Out::<T>::of("out", out, &[count, m.rank])?;
            let mut out_bias = out_bias.map(|b| Out::<T>::of("out_bias", b, &[count])).transpose()?;
            let (out, out_bias) = (out.slice(), out_bias.as_mut().map(Out::slice));
            let work = cells.indices.len() as f64 * (m.rank as f64 + 20.0) / 2.0;
            run(py, work, |r| kernels::gradient(isa, r, &m, cells, out, out_bias))
        })
    }
    let cells = cells_of(py, &indptr, &indices, &values, weights.as_ref())?;
    let call = if is_f64(&rows) { typed::<f64> } else { typed::<f32> };
    let model = ModelArrays { users: rows, items: fixed, user_bias: bias, item_bias: offset, mean };
    call(py, &model, &cells, (&out, out_bias.as_ref()))
}

/// Predicted ratings of index pairs.
#[pyfunction]
#[allow(clippy::too_many_arguments)] // one per array of `_native.pyi`
fn predict<'py>(
    py: Python<'py>,
    user_index: I64<'py>,
    item_index: I64<'py>,
    users: Any<'py>,
    items: Any<'py>,
    user_bias: Option<Any<'py>>,
    item_bias: Option<Any<'py>>,
    mean: f64,
    out: Any<'py>,
) -> PyResult<()> {
    fn typed<'py, T: Element + numpy::Element>(
        py: Python<'py>,
        model: &ModelArrays<'py>,
        pairs: (&[i64], &[i64]),
        out: &Any<'py>,
    ) -> PyResult<()> {
        let mut out = Out::<T>::of("out", out, &[pairs.0.len()])?;
        let out = out.slice();
        model.with::<T, _>(|isa, m| {
            let work = pairs.0.len() as f64 * (m.rank as f64 + 20.0) / 4.0;
            run(py, work, |r| kernels::predict(isa, r, &m, pairs.0, pairs.1, out))
        })
    }
    let pairs = (contiguous(py, "user_index", &user_index)?, contiguous(py, "item_index", &item_index)?);
    let call = if is_f64(&users) { typed::<f64> } else { typed::<f32> };
    call(py, &ModelArrays { users, items, user_bias, item_bias, mean }, pairs, &out)
}

/// The best items of every query.
#[pyfunction]
#[allow(clippy::too_many_arguments)] // one per array of `_native.pyi`
fn topk<'py>(
    py: Python<'py>,
    queries: Any<'py>,
    items: Any<'py>,
    item_bias: Option<Any<'py>>,
    exclude: Option<(I64<'py>, U32<'py>)>,
    candidates: Option<(I64<'py>, U32<'py>)>,
    allow: Option<PyReadonlyArray1<'py, bool>>,
    mut out_index: numpy::PyReadwriteArray2<'py, i64>,
    out_score: Any<'py>,
) -> PyResult<()> {
    let exclude = exclude.as_ref().map(|lists| lists_of(py, "exclude", lists)).transpose()?;
    let candidates = candidates.as_ref().map(|lists| lists_of(py, "candidates", lists)).transpose()?;
    let allow = allow.as_ref().map(|a| args::truths(py, "allow", a)).transpose()?;
    if !out_index.is_c_contiguous() {
        return Err(internal(py, "out_index must be C-contiguous"));
    }
    let (rows, n) = out_index.as_array().dim();
    let index = out_index.as_slice_mut().map_err(|_| internal(py, "out_index must be contiguous"))?;
    let filters = Filters { exclude, candidates, allow: allow.as_deref(), rows, n };
    if is_f64(&queries) {
        filters.rank::<f64>(py, &queries, &items, item_bias.as_ref(), index, &out_score)
    } else {
        filters.rank::<f32>(py, &queries, &items, item_bias.as_ref(), index, &out_score)
    }
}

/// What may be answered, and how many.
struct Filters<'a> {
    exclude: Option<Lists<'a>>,
    candidates: Option<Lists<'a>>,
    allow: Option<&'a [bool]>,
    rows: usize,
    n: usize,
}

impl Filters<'_> {
    fn rank<'py, T: Element + numpy::Element>(
        &self,
        py: Python<'py>,
        queries: &Any<'py>,
        items: &Any<'py>,
        item_bias: Option<&Any<'py>>,
        index: &mut [i64],
        out_score: &Any<'py>,
    ) -> PyResult<()> {
        let isa = chosen_isa(py)?;
        let queries = In::<T>::of("queries", queries, &[self.rows, ANY])?;
        let (count, rank) = queries.extents();
        let items = In::<T>::of("items", items, &[ANY, rank])?;
        let (n, _) = items.extents();
        let item_bias = item_bias.map(|b| In::<T>::of("item_bias", b, &[n])).transpose()?;
        let mut score = Out::<T>::of("out_score", out_score, &[count, self.n])?;
        let ranking = Ranking {
            rank,
            queries: queries.slice(),
            items: items.slice(),
            item_bias: item_bias.as_ref().map(In::slice),
            exclude: self.exclude,
            candidates: self.candidates,
            allow: self.allow,
            n: self.n,
        };
        let score = score.slice();
        let work = count as f64 * items.slice().len() as f64 / 2.0;
        run(py, work, |r| kernels::topk(isa, r, &ranking, index, score))
    }
}

/// The rows of a side: what `sgd_epoch` takes of users, and of items.
type RowsArrays<'py> = (Any<'py>, Option<Any<'py>>, Option<Any<'py>>, Option<Any<'py>>);

/// Cells in the order of stochastic gradient descent.
#[pyclass(frozen)]
struct Grid(kernels::Grid);

#[pymethods]
impl Grid {
    #[new]
    #[allow(clippy::too_many_arguments)] // one per array of `_native.pyi`
    fn new<'py>(
        py: Python<'py>,
        indptr: I64<'py>,
        indices: U32<'py>,
        values: F32<'py>,
        weights: Option<F32<'py>>,
        users: (U32<'py>, I64<'py>),
        items: (U32<'py>, I64<'py>),
    ) -> PyResult<Self> {
        let cells = cells_of(py, &indptr, &indices, &values, weights.as_ref())?;
        let users = Parts {
            order: contiguous(py, "users", &users.0)?,
            cuts: contiguous(py, "users", &users.1)?,
        };
        let items = Parts {
            order: contiguous(py, "items", &items.0)?,
            cuts: contiguous(py, "items", &items.1)?,
        };
        let work = cells.indices.len() as f64 * 20.0;
        Ok(Grid(run(py, work, |r| kernels::Grid::new(r, &cells, users, items))?))
    }

    /// The cells in the order of the blocks: offsets by block, users, items, values, weights.
    #[allow(clippy::type_complexity)]
    fn arrays<'py>(
        &self,
        py: Python<'py>,
    ) -> (Array<'py, i64>, Array<'py, u32>, Array<'py, u32>, Array<'py, f32>, Option<Array<'py, f32>>)
    {
        let column = |at: usize| self.0.cells().iter().map(move |cell| cell[at]);
        let starts: Vec<i64> = self.0.starts().iter().map(|&start| start as i64).collect();
        (
            starts.into_pyarray(py),
            column(0).collect::<Vec<_>>().into_pyarray(py),
            column(1).collect::<Vec<_>>().into_pyarray(py),
            column(2).map(f32::from_bits).collect::<Vec<_>>().into_pyarray(py),
            self.0.weights().map(|w| w.to_vec().into_pyarray(py)),
        )
    }
}

/// An epoch of stochastic gradient descent.
#[pyfunction]
fn sgd_epoch<'py>(
    py: Python<'py>,
    grid: &Bound<'py, Grid>,
    diagonals: I64<'py>,
    step: (f64, f64, f64, (f64, f64, f64), f64, bool, bool),
    users: RowsArrays<'py>,
    items: RowsArrays<'py>,
) -> PyResult<()> {
    let (mean, rate, bias_rate, reg, growth, head_only, nonnegative) = step;
    let step = Step { mean, rate, bias_rate, reg: reg.into(), growth, head_only, nonnegative };
    let diagonals: Vec<usize> = contiguous(py, "diagonals", &diagonals)?
        .iter()
        .map(|&d| usize::try_from(d).map_err(|_| internal(py, "diagonals must be ≥ 0")))
        .collect::<PyResult<_>>()?;
    let call = if is_f64(&users.0) { sgd_epoch_of::<f64> } else { sgd_epoch_of::<f32> };
    call(py, &grid.get().0, &diagonals, step, &users, &items)
}

fn sgd_epoch_of<'py, T: Element + numpy::Element>(
    py: Python<'py>,
    grid: &kernels::Grid,
    diagonals: &[usize],
    step: Step,
    users: &RowsArrays<'py>,
    items: &RowsArrays<'py>,
) -> PyResult<()> {
    let isa = chosen_isa(py)?;
    let (m, n) = grid.rows();
    let mut users = BorrowedRows::<T>::of(users, m, ANY)?;
    let rank = users.factors.extents().1;
    let mut items = BorrowedRows::<T>::of(items, n, rank)?;
    let work = grid.cells().len() as f64 * (rank as f64 + 20.0);
    let (users, items) = (users.rows(), items.rows());
    run(py, work, |r| kernels::sgd_epoch(isa, r, grid, diagonals, rank, step, (users, items)))
}

/// The arrays of a side, borrowed.
struct BorrowedRows<'py, T: Element + numpy::Element> {
    factors: Out<'py, T>,
    bias: Option<Out<'py, T>>,
    share: Option<In<'py, T>>,
    sums: Option<Out<'py, T>>,
}

impl<'py, T: Element + numpy::Element> BorrowedRows<'py, T> {
    fn of((factors, bias, share, sums): &RowsArrays<'py>, rows: usize, rank: usize) -> PyResult<Self> {
        let out = |name: &str, array: &Option<Any<'py>>, shape: &[usize]| {
            array.as_ref().map(|a| Out::<T>::of(name, a, shape)).transpose()
        };
        Ok(BorrowedRows {
            factors: Out::of("factors", factors, &[rows, rank])?,
            bias: out("bias", bias, &[rows])?,
            share: share.as_ref().map(|s| In::of("share", s, &[rows])).transpose()?,
            sums: out("sums", sums, &[rows, 2])?,
        })
    }

    fn rows(&mut self) -> Rows<'_, T> {
        Rows {
            factors: self.factors.slice(),
            bias: self.bias.as_mut().map(Out::slice),
            share: self.share.as_ref().map(In::slice),
            sums: self.sums.as_mut().map(Out::slice),
        }
    }
}

#[pymodule]
fn _native(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add("SingularSystem", m.py().get_type::<SingularSystem>())?;
    m.add_function(wrap_pyfunction!(isa, m)?)?;
    m.add_function(wrap_pyfunction!(available_isas, m)?)?;
    m.add_function(wrap_pyfunction!(get_num_threads, m)?)?;
    m.add_function(wrap_pyfunction!(set_num_threads, m)?)?;
    m.add_function(wrap_pyfunction!(factorize, m)?)?;
    m.add_function(wrap_pyfunction!(sort_pairs, m)?)?;
    m.add_function(wrap_pyfunction!(take, m)?)?;
    m.add_function(wrap_pyfunction!(transpose, m)?)?;
    m.add_function(wrap_pyfunction!(gram, m)?)?;
    m.add_function(wrap_pyfunction!(solve_rows, m)?)?;
    m.add_function(wrap_pyfunction!(draws::draw_rows, m)?)?;
    m.add_function(wrap_pyfunction!(draws::multiply, m)?)?;
    m.add_function(wrap_pyfunction!(line::line_errors, m)?)?;
    m.add_function(wrap_pyfunction!(rotate, m)?)?;
    m.add_class::<Grid>()?;
    m.add_function(wrap_pyfunction!(sgd_epoch, m)?)?;
    m.add_function(wrap_pyfunction!(ranking::ranking_epoch, m)?)?;
    m.add_function(wrap_pyfunction!(cosine::cosine_epoch, m)?)?;
    m.add_function(wrap_pyfunction!(row_variances, m)?)?;
    m.add_function(wrap_pyfunction!(squared_error, m)?)?;
    m.add_function(wrap_pyfunction!(gradient, m)?)?;
    m.add_function(wrap_pyfunction!(predict, m)?)?;
    m.add_function(wrap_pyfunction!(topk, m)?)
}
