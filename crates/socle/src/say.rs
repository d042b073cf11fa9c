//! What a person at the terminal is told: one line a step, in plain words. Logs are elsewhere.

use std::time::Instant;

#[derive(Clone, Copy)]
pub struct Say {
    started: Instant,
}

impl Say {
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }

    /// A step done, with the time since the start.
    pub fn step(&self, text: impl std::fmt::Display) {
        println!("[{:>6.2}s] {text}", self.started.elapsed().as_secs_f64());
    }

    pub fn line(&self, text: impl std::fmt::Display) {
        println!("          {text}");
    }
}
