//! Arithmetic of ranges that ends at the largest number instead of beginning anew.

/// From, to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub min: u64,
    pub max: u64,
}

impl Range {
    pub const UNKNOWN: Self = Self { min: 0, max: u64::MAX };
    pub const ZERO: Self = Self { min: 0, max: 0 };

    pub fn new(min: u64, max: u64) -> Self {
        Self { min, max }
    }

    pub fn fixed(value: u64) -> Self {
        Self { min: value, max: value }
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    #[must_use]
    pub fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// By a factor, rounded up.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        // What is too large for the integer becomes the largest one.
        let scale = |value: u64| (value as f64 * factor).ceil() as u64;
        Self { min: scale(self.min), max: scale(self.max) }
    }

    /// What holds both.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}
