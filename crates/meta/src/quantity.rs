//! `resource.Quantity`: a fixed-point number that remembers in which family of suffixes it was
//! written (apimachinery `pkg/api/resource/quantity.go`).

use serde_json::Value;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    /// `500m`, `2`, `3k`
    #[default]
    Decimal,
    /// `2Ki`, `3Gi`
    Binary,
    /// `2e3`
    Exponent,
}

/// Kept in billionths: upstream keeps nothing finer. Equality and order are by value, whatever the suffix.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANO: i128 = 1_000_000_000;
/// Above this upstream caps; below it every value has a decimal suffix.
const LIMIT: i128 = 1_000_000_000_000_000_000_000 * NANO;
const CAP: i128 = i64::MAX as i128 * NANO;
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    pub const ZERO: Self = Self { nanos: 0, format: Format::Decimal };

    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, unsigned) = match text.as_bytes().first() {
            None => return Err(QuantityError::Format),
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) => (false, text),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
        let digits = letters.strip_prefix(['-', '+']).unwrap_or(letters);
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(QuantityError::Format);
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(QuantityError::Numeric);
        }
        let (format, factor) = suffix_of(suffix)?;
        let mut nanos = scaled(whole, fraction, factor).min(CAP.max(LIMIT));
        if nanos >= LIMIT {
            nanos = CAP;
        }
        // A binary fraction below one prints in thousandths.
        let format = if format == Format::Binary && nanos < NANO { Format::Decimal } else { format };
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }

    /// A string, or a bare number as manifests may write it. Null is zero.
    pub fn from_value(value: &Value) -> Result<Self, QuantityError> {
        match value {
            Value::Null => Ok(Self::ZERO),
            Value::String(text) => Self::parse(text.trim()),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => Err(QuantityError::Format),
        }
    }

    /// A decimal quantity.
    pub fn new(value: i64) -> Self {
        Self { nanos: i128::from(value) * NANO, format: Format::Decimal }
    }

    pub fn from_milli(milli: i64) -> Self {
        Self { nanos: i128::from(milli) * 1_000_000, format: Format::Decimal }
    }

    /// A binary quantity: prints with Ki, Mi, ...
    pub fn from_bytes(value: i64) -> Self {
        Self { nanos: i128::from(value) * NANO, format: Format::Binary }
    }

    /// Rounded up to a whole number (towards what gives more), saturating.
    pub fn value(&self) -> i64 {
        self.rounded(NANO)
    }

    /// Rounded up to thousandths, saturating.
    pub fn milli_value(&self) -> i64 {
        self.rounded(1_000_000)
    }

    fn rounded(&self, unit: i128) -> i64 {
        let magnitude = (self.nanos.unsigned_abs()).div_ceil(unit.unsigned_abs());
        let magnitude = i64::try_from(magnitude).unwrap_or(i64::MAX);
        if self.nanos < 0 { -magnitude } else { magnitude }
    }

    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// -1, 0 or 1.
    pub fn signum(&self) -> i32 {
        self.nanos.signum() as i32
    }

    pub fn to_f64(&self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// Takes the other's family of suffixes if this is zero.
    pub fn add(&mut self, other: &Self) {
        if self.is_zero() {
            self.format = other.format;
        }
        self.nanos = self.nanos.saturating_add(other.nanos);
    }

    pub fn sub(&mut self, other: &Self) {
        if self.is_zero() {
            self.format = other.format;
        }
        self.nanos = self.nanos.saturating_sub(other.nanos);
    }

    pub fn negated(&self) -> Self {
        Self { nanos: -self.nanos, format: self.format }
    }
}

/// What the number before the suffix is multiplied with: a fraction in lowest powers.
#[derive(Clone, Copy)]
enum Factor {
    Ten(i32),
    Two(u32),
}

fn suffix_of(suffix: &str) -> Result<(Format, Factor), QuantityError> {
    if let Some(i) = DECIMAL.iter().position(|s| *s == suffix) {
        return Ok((Format::Decimal, Factor::Ten((i as i32 - 3) * 3)));
    }
    if let Some(i) = BINARY.iter().position(|s| *s == suffix) {
        return Ok((Format::Binary, Factor::Two(i as u32 * 10)));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).filter(|e| !e.is_empty()).ok_or(QuantityError::Suffix)?;
    let exponent: i64 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
    Ok((Format::Exponent, Factor::Ten(exponent.clamp(-1000, 1000) as i32)))
}

/// The magnitude in billionths, rounded away from zero, so that what is not nothing stays not nothing.
/// Saturates at `i128::MAX`.
fn scaled(whole: &str, fraction: &str, factor: Factor) -> i128 {
    let (shift, multiplier) = match factor {
        Factor::Ten(n) => (9 + n, 1),
        Factor::Two(bits) => (9, 1_i128 << bits),
    };
    // `digits * 10^places` is the number, in billionths but for the binary multiplier.
    let digits = whole.bytes().chain(fraction.bytes()).skip_while(|b| *b == b'0');
    let mut places = i64::from(shift) - fraction.len() as i64;
    let mut mantissa: i128 = 0;
    let mut inexact = false;
    // What still fits: 37 digits alone, or 19 times 2^60.
    let room = if multiplier == 1 { 37 } else { 19 };
    for (i, digit) in digits.enumerate() {
        if i >= room {
            places += 1;
            inexact |= digit != b'0';
        } else {
            mantissa = mantissa * 10 + i128::from(digit - b'0');
        }
    }
    if mantissa == 0 {
        return 0;
    }
    mantissa *= multiplier;
    if places >= 0 {
        let power = u32::try_from(places).ok().and_then(|p| 10_i128.checked_pow(p));
        return power.and_then(|p| mantissa.checked_mul(p)).unwrap_or(i128::MAX);
    }
    match u32::try_from(-places).ok().and_then(|p| 10_i128.checked_pow(p)) {
        Some(power) => mantissa / power + i128::from(mantissa % power != 0 || inexact),
        None => 1,
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl std::ops::AddAssign<&Quantity> for Quantity {
    fn add_assign(&mut self, other: &Quantity) {
        self.add(other);
    }
}

impl std::ops::SubAssign<&Quantity> for Quantity {
    fn sub_assign(&mut self, other: &Quantity) {
        self.sub(other);
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

/// The canonical form: no fraction, the largest suffix that allows that.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos / NANO;
        if self.format == Format::Binary && self.nanos % NANO == 0 && whole.abs() >= 1024 {
            let (mut mantissa, mut i) = (whole, 0);
            while mantissa % 1024 == 0 && i + 1 < BINARY.len() {
                mantissa /= 1024;
                i += 1;
            }
            return write!(f, "{mantissa}{}", BINARY[i]);
        }
        let (mut mantissa, mut i) = (self.nanos, 0);
        while mantissa % 1000 == 0 && i + 1 < DECIMAL.len() {
            mantissa /= 1000;
            i += 1;
        }
        if self.format == Format::Exponent && i != 3 {
            return write!(f, "{mantissa}e{}", (i as i32 - 3) * 3);
        }
        write!(f, "{mantissa}{}", DECIMAL[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_canonical_form_is_upstreams() {
        for (text, canonical) in [
            ("0", "0"),
            ("0Ki", "0"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("1000Ki", "1000Ki"),
            ("0.5Ki", "512"),
            ("1023", "1023"),
            ("100Mi", "100Mi"),
            ("1e3", "1e3"),
            ("12E2", "1200"),
            ("1E", "1E"),
            ("-1.5k", "-1500"),
            (".5", "500m"),
            ("5.", "5"),
            ("+7", "7"),
            ("0.0000000001", "1n"),
            ("1e-20", "1e-9"),
            ("9223372036854775807", "9223372036854775807"),
            ("1e50", "9223372036854775807"),
            ("007", "7"),
        ] {
            assert_eq!(Quantity::parse(text).unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for (text, error) in [
            ("", QuantityError::Format),
            ("1Q", QuantityError::Format),
            ("1 Gi", QuantityError::Format),
            ("1KK", QuantityError::Suffix),
            ("1kb", QuantityError::Format),
            ("1e", QuantityError::Suffix),
            (".", QuantityError::Numeric),
            ("1.2.3", QuantityError::Numeric),
            ("Ki", QuantityError::Numeric),
        ] {
            assert_eq!(Quantity::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn values_round_up_and_sums_keep_the_family() {
        let q = |text| Quantity::parse(text).unwrap();
        assert_eq!(q("1m").value(), 1);
        assert_eq!(q("1500m").value(), 2);
        assert_eq!(q("100n").milli_value(), 1);
        assert_eq!(q("2Gi").value(), 2 << 30);
        let mut sum = q("512Mi");
        sum.add(&q("512Mi"));
        assert_eq!(sum.to_string(), "1Gi");
        let mut from_zero = Quantity::ZERO;
        from_zero.add(&q("1Gi"));
        assert_eq!(from_zero.to_string(), "1Gi");
        assert!(q("1Ki") > q("1k") && q("1000m") == q("1"));
    }

    proptest! {
        #[test]
        fn the_canonical_form_reads_back_as_itself(whole in 0i64..1_000_000_000_000, fraction in "(\\.[0-9]{1,9})?", suffix in "(n|u|m|k|M|G|Ki|Mi|Gi|e[0-6]|)") {
            let first = Quantity::parse(&format!("{whole}{fraction}{suffix}")).unwrap();
            let second = Quantity::parse(&first.to_string()).unwrap();
            prop_assert_eq!(first, second);
            prop_assert_eq!(first.to_string(), second.to_string());
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[-+]?[0-9.eEinumkKMGTP+-]{0,40}") {
            let _ = Quantity::parse(&text).map(|q| (q.to_string(), q.value(), q.milli_value()));
        }
    }
}
