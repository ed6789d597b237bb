//! What can go wrong in a kernel.

use std::fmt;

/// Why a kernel stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// The system of this row has no unique solution in the working precision.
    Singular {
        /// The row.
        row: usize,
    },
    /// The system of this row is not finite: an overflow, or a NaN or an infinity in the input.
    NonFinite {
        /// The row.
        row: usize,
    },
    /// The caller broke the contract: a wrong length, an index out of range.
    Invalid(String),
    /// The caller asked to stop.
    Cancelled,
}

impl Error {
    /// `Invalid` with this message.
    pub fn invalid<T>(message: impl Into<String>) -> Result<T, Error> {
        Err(Error::Invalid(message.into()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Singular { row } => write!(
                f,
                "row {row}: its system has no unique solution in the working precision (a pivot is \
                 not above rounding); use a larger reg, or float64"
            ),
            Error::NonFinite { row } => write!(
                f,
                "row {row}: its system or its solution is not finite; check its values and weights \
                 for very large numbers, use a larger reg, or float64"
            ),
            Error::Invalid(message) => f.write_str(message),
            Error::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl std::error::Error for Error {}
