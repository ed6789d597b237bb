//! What can go wrong in a kernel.

/// Why a kernel stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The system of this row has no unique solution in the working precision.
    Singular {
        /// The smallest failing row.
        row: usize,
    },
    /// The arrays break the contract of the call (a bug of the caller).
    Contract(String),
    /// The caller asked to stop.
    Cancelled,
}

impl Error {
    /// A broken contract.
    pub fn contract(message: impl Into<String>) -> Self {
        Error::Contract(message.into())
    }
}

/// The result of a kernel.
pub type Result<T> = std::result::Result<T, Error>;
