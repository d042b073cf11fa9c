//! Room on the stack for expressions that are nested deeply, wherever they are evaluated from.

use std::cell::Cell;

/// What fits on any thread's stack.
const SHALLOW: usize = 64;
/// How many evaluations may be within each other on one stack.
const NESTED: usize = 8;
const STACK: usize = 32 << 20;

thread_local! {
    static WITHIN: Cell<usize> = const { Cell::new(0) };
}

struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        WITHIN.set(WITHIN.get() - 1);
    }
}

/// Runs what recurses `depth` levels: here, or where there is room for it.
pub fn with_stack<T: Send>(depth: usize, work: impl FnOnce() -> T + Send) -> T {
    let within = WITHIN.get();
    if depth <= SHALLOW && within < NESTED {
        WITHIN.set(within + 1);
        let _leave = Leave;
        return work();
    }
    let mut work = Some(work);
    let done = std::thread::scope(|scope| {
        let work = &mut work;
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || work.take().map(|work| work()));
        thread.ok().and_then(|thread| thread.join().ok()).flatten()
    });
    match (done, work) {
        (Some(done), _) => done,
        // There was no thread to be had.
        (None, Some(work)) => work(),
        (None, None) => std::panic::resume_unwind(Box::new("an evaluation panicked")),
    }
}
