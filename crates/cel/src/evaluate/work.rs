//! Work that the language's costs do not count, such as copying lists that are joined, and that must be bounded as well.

use crate::error::EvalError;
use std::cell::Cell;

/// Elements that one expression may have looked at or copied.
const LIMIT: u64 = 50_000_000;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(LIMIT) };
}

/// Fails when the expression has done more than one may.
pub fn spend(work: u64) -> Result<(), EvalError> {
    match LEFT.get().checked_sub(work) {
        Some(left) => {
            LEFT.set(left);
            Ok(())
        }
        None => Err(EvalError::CostLimit),
    }
}

/// Runs an evaluation with work of its own.
pub fn measured<T>(evaluate: impl FnOnce() -> T) -> T {
    let before = LEFT.replace(LIMIT);
    let value = evaluate();
    LEFT.set(before);
    value
}
