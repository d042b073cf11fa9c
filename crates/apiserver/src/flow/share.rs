//! How many seats each level gets: by its shares at first, then by what levels want, within what each may
//! lend and borrow.

use meta::value;
use serde_json::Value;

/// What a level's configuration says of seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    pub shares: u32,
    pub lendable_percent: u32,
    /// None: as much as there is.
    pub borrowing_percent: Option<u32>,
    pub exempt: bool,
}

impl Shares {
    /// `spec`: of a PriorityLevelConfiguration.
    pub fn of(spec: &Value) -> Self {
        let exempt = value::text(spec, &["type"]) == "Exempt";
        let part = if exempt { "exempt" } else { "limited" };
        let number = |field: &str| value::int(spec, &[part, field]).and_then(|n| u32::try_from(n).ok());
        Self {
            shares: number("nominalConcurrencyShares").unwrap_or(if exempt { 0 } else { 30 }),
            lendable_percent: number("lendablePercent").unwrap_or(0).min(100),
            borrowing_percent: number("borrowingLimitPercent"),
            exempt,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub nominal: u32,
    /// What is never lent.
    pub lower: u32,
    pub upper: u32,
}

fn percent(of: u32, percent: u32) -> u32 {
    let rounded = (u64::from(of) * u64::from(percent) + 50) / 100;
    u32::try_from(rounded).unwrap_or(u32::MAX)
}

/// `total`: the server's seats.
pub fn limits(total: u32, all: &[Shares]) -> Vec<Limits> {
    let sum: u64 = all.iter().map(|s| u64::from(s.shares)).sum();
    let one = |s: &Shares| {
        let nominal = if sum == 0 { 0 } else { (u64::from(total) * u64::from(s.shares)).div_ceil(sum) };
        let nominal = u32::try_from(nominal).unwrap_or(u32::MAX);
        let lower = nominal - percent(nominal, s.lendable_percent).min(nominal);
        let upper = match s.borrowing_percent {
            Some(p) if !s.exempt => nominal.saturating_add(percent(nominal, p)),
            _ => total.max(nominal),
        };
        Limits { nominal, lower, upper }
    };
    all.iter().map(one).collect()
}

/// What a level wants, and the bounds of what it can get.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    pub target: f64,
    pub lower: f64,
    pub upper: f64,
}

/// No level wants less than this, so that all of them grow when there is plenty.
const LEAST: f64 = 0.001;
const ROUNDS: usize = 64;

/// Parts `total` so that each gets the same fraction of what it wants, unless its bounds say otherwise.
pub fn divide(total: f64, wants: &[Want]) -> Vec<f64> {
    let at = |fraction: f64| wants.iter().map(move |w| (w.target.max(LEAST) * fraction).clamp(w.lower, w.upper.max(w.lower)));
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    while at(high).sum::<f64>() < total && high < 1e9 {
        high *= 2.0;
    }
    // The sum grows with the fraction, so halving finds it.
    for _ in 0..ROUNDS {
        let middle = f64::midpoint(low, high);
        if at(middle).sum::<f64>() < total {
            low = middle;
        } else {
            high = middle;
        }
    }
    at(high).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn seats_follow_shares_and_what_may_be_lent() {
        let level = |shares: u32, lend: u32| {
            Shares::of(&json!({"type": "Limited", "limited": {"nominalConcurrencyShares": shares, "lendablePercent": lend}}))
        };
        let limits = limits(600, &[level(30, 33), level(40, 25), level(5, 0)]);
        assert_eq!(limits.iter().map(|l| l.nominal).collect::<Vec<_>>(), [240, 320, 40]);
        assert_eq!(limits.iter().map(|l| l.lower).collect::<Vec<_>>(), [161, 240, 40]);
        let bounded = Shares { borrowing_percent: Some(50), ..level(5, 0) };
        assert_eq!(super::limits(100, &[bounded])[0], Limits { nominal: 100, lower: 100, upper: 150 });
    }

    #[test]
    fn a_busy_level_borrows_what_idle_ones_lend_and_no_more() {
        let wants = [
            Want { target: 500.0, lower: 100.0, upper: 600.0 },
            Want { target: 50.0, lower: 50.0, upper: 600.0 },
            Want { target: 200.0, lower: 200.0, upper: 200.0 },
        ];
        let got: Vec<u32> = divide(600.0, &wants).iter().map(|s| s.round() as u32).collect();
        assert_eq!(got, [350, 50, 200]);
        // With nothing wanted by anybody, all grow alike.
        let idle = [Want { target: 0.0, lower: 0.0, upper: 600.0 }; 2];
        assert_eq!(divide(600.0, &idle).iter().map(|s| s.round() as u32).collect::<Vec<_>>(), [300, 300]);
    }
}
