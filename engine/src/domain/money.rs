//! Exact decimals: amounts with ten decimals, and rates as quotients that are never rounded.
//!
//! Why not a decimal crate: the contract keeps 18 digits before the point and 10 after it, so a
//! product of two stored numbers has up to 56 digits, and a 96-bit mantissa would round it before
//! its one permitted rounding. A fixed-point `i128` holds every stored number, and a 512-bit
//! integer (`bnum`) every product in between, so each result here is the exact one, rounded once.
//!
//! # Invariants
//! - Rounding is half-even and happens in [`round_half_even`] only.
//! - No operation wraps: what does not fit 18 digits before the point is `None`.

mod rate;
#[cfg(test)]
mod tests;

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use bnum::cast::As;
use bnum::types::U512;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

pub use rate::FxRate;

/// Decimals that are kept after the point.
pub const DECIMALS: usize = 10;
/// One unit, in the smallest part.
const SCALE: i128 = 10_i128.pow(DECIMALS as u32);
/// First magnitude that a stored number cannot have: 10^18 units.
const STORED_LIMIT: i128 = 10_i128.pow(18) * SCALE;
/// First magnitude that an input cannot have: 10^12 units.
const INPUT_LIMIT: i128 = 10_i128.pow(12) * SCALE;

/// A quantity, price, cost or value: a decimal number with ten decimals.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i128);

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseAmountError {
    /// It is not a decimal number.
    #[error("not a decimal number")]
    NotANumber,
    /// It has more than 18 digits before the point.
    #[error("too large")]
    TooLarge,
}

impl Amount {
    /// Zero.
    pub const ZERO: Amount = Amount(0);
    /// One.
    pub const ONE: Amount = Amount(SCALE);

    /// A whole number of units.
    pub const fn from_units(units: i64) -> Self {
        Self(units as i128 * SCALE)
    }

    /// A number given in its smallest part, 10^-10.
    pub const fn from_raw(raw: i128) -> Self {
        Self(raw)
    }

    /// The number in its smallest part, 10^-10.
    pub const fn raw(self) -> i128 {
        self.0
    }

    /// Reads a decimal number (sign, digits, point, exponent), rounded half-even to ten decimals.
    pub fn parse(text: &str) -> Result<Self, ParseAmountError> {
        parse_decimal(text.trim()).map(Self)
    }

    /// Whether an input may have this magnitude (below 10^12).
    pub fn fits_input(self) -> bool {
        self.0.abs() < INPUT_LIMIT
    }

    /// The number itself if it fits 18 digits before the point.
    pub fn stored(self) -> Option<Self> {
        (self.0.abs() < STORED_LIMIT).then_some(self)
    }

    /// Whether the number is below zero.
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether the number is zero.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The number without its sign.
    pub fn abs(self) -> Self {
        Self(self.0.abs())
    }

    /// `self x rate`, rounded once; `None` where it does not fit.
    pub fn convert(self, rate: &FxRate) -> Option<Self> {
        if rate.is_one() {
            return self.stored();
        }
        Self::quotient(self.0, &[rate.num[0], rate.num[1]], &[rate.den[0], rate.den[1]])
    }

    /// `self x price x rate`, rounded once; `None` where it does not fit.
    pub fn times(self, price: Amount, rate: &FxRate) -> Option<Self> {
        if rate.is_one() {
            return Self::quotient(self.0, &[price.0], &[SCALE]);
        }
        Self::quotient(
            self.0,
            &[price.0, rate.num[0], rate.num[1]],
            &[SCALE, rate.den[0], rate.den[1]],
        )
    }

    /// The part of a cost that belongs to `taken` of `quantity`: `self x taken / quantity`.
    pub fn share(self, taken: Amount, quantity: Amount) -> Option<Self> {
        Self::quotient(self.0, &[taken.0], &[quantity.0])
    }

    /// `self / quantity`, rounded once; `None` where it does not fit or `quantity` is zero.
    pub fn per(self, quantity: Amount) -> Option<Self> {
        if quantity.is_zero() {
            return None;
        }
        Self::quotient(self.0, &[SCALE], &[quantity.0])
    }

    /// `first x factors / divisors`, rounded half-even to the smallest part.
    fn quotient(first: i128, factors: &[i128], divisors: &[i128]) -> Option<Self> {
        let narrow = || {
            let num = factors.iter().try_fold(first, |acc, f| acc.checked_mul(*f))?;
            let den = divisors.iter().try_fold(1_i128, |acc, d| acc.checked_mul(*d))?;
            Some((num, den))
        };
        if let Some((num, den)) = narrow() {
            let negative = (num < 0) != (den < 0);
            let magnitude = round_half_even_u128(num.unsigned_abs(), den.unsigned_abs())?;
            return Self::signed(magnitude, negative);
        }
        let mut negative = first < 0;
        let mut num: U512 = first.unsigned_abs().as_();
        for factor in factors {
            negative ^= *factor < 0;
            let wide: U512 = factor.unsigned_abs().as_();
            num = num.checked_mul(wide)?;
        }
        let mut den: U512 = 1_u128.as_();
        for divisor in divisors {
            negative ^= *divisor < 0;
            let wide: U512 = divisor.unsigned_abs().as_();
            den = den.checked_mul(wide)?;
        }
        Self::signed(round_half_even(num, den)?, negative)
    }

    fn signed(magnitude: u128, negative: bool) -> Option<Self> {
        let magnitude = i128::try_from(magnitude).ok()?;
        Self(if negative { -magnitude } else { magnitude }).stored()
    }
}

/// `num / den` rounded half-even; `None` where `den` is zero or the result exceeds 128 bits.
fn round_half_even(num: U512, den: U512) -> Option<u128> {
    let zero: U512 = 0_u128.as_();
    let limit: U512 = u128::MAX.as_();
    if den == zero {
        return None;
    }
    let (quotient, remainder) = (num / den, num % den);
    if quotient >= limit {
        return None;
    }
    let floor: u128 = quotient.as_();
    let up = match remainder.cmp(&(den - remainder)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => floor % 2 == 1,
        std::cmp::Ordering::Greater => true,
    };
    Some(floor + u128::from(up))
}

/// The same in 128 bits, for the numbers of every day.
fn round_half_even_u128(num: u128, den: u128) -> Option<u128> {
    let floor = num.checked_div(den)?;
    let remainder = num % den;
    let up = match remainder.cmp(&(den - remainder)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => floor % 2 == 1,
        std::cmp::Ordering::Greater => true,
    };
    Some(floor + u128::from(up))
}

fn parse_decimal(text: &str) -> Result<i128, ParseAmountError> {
    use ParseAmountError::{NotANumber, TooLarge};
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => {
            let digits = &unsigned[at + 1..];
            let bare = digits.strip_prefix(['+', '-']).unwrap_or(digits);
            if bare.is_empty() || !bare.bytes().all(|b| b.is_ascii_digit()) {
                return Err(NotANumber);
            }
            // Beyond four digits the number is zero or too large, whatever the mantissa's length.
            let size = bare.parse::<i64>().unwrap_or(i64::MAX / 4).min(1_000_000_000);
            (&unsigned[..at], if digits.starts_with('-') { -size } else { size })
        }
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(NotANumber);
    }
    if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(NotANumber);
    }
    let digits: Vec<u8> =
        whole.bytes().chain(fraction.bytes()).map(|b| b - b'0').skip_while(|d| *d == 0).collect();
    if digits.is_empty() {
        return Ok(0);
    }
    // Digits that count: those before the place 10^-10.
    let kept = digits.len() as i64 - fraction.len() as i64 + exponent + DECIMALS as i64;
    if kept > 28 {
        return Err(TooLarge);
    }
    if kept < 0 {
        return Ok(0);
    }
    let kept = kept as usize;
    let mut raw: i128 = 0;
    for place in 0..kept {
        raw = raw * 10 + i128::from(digits.get(place).copied().unwrap_or(0));
    }
    let rest = digits.get(kept..).unwrap_or(&[]);
    let half = match rest.first() {
        Some(5) if rest[1..].iter().all(|d| *d == 0) => raw % 2 == 1,
        Some(first) => *first >= 5,
        None => false,
    };
    raw += i128::from(half);
    if raw >= STORED_LIMIT {
        return Err(TooLarge);
    }
    Ok(if negative { -raw } else { raw })
}

impl Add for Amount {
    type Output = Amount;
    fn add(self, other: Amount) -> Amount {
        Amount(self.0 + other.0)
    }
}

impl Sub for Amount {
    type Output = Amount;
    fn sub(self, other: Amount) -> Amount {
        Amount(self.0 - other.0)
    }
}

impl Neg for Amount {
    type Output = Amount;
    fn neg(self) -> Amount {
        Amount(-self.0)
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        self.0 += other.0;
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Amount) {
        self.0 -= other.0;
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> Amount {
        amounts.fold(Amount::ZERO, Add::add)
    }
}

impl fmt::Display for Amount {
    /// A plain decimal without trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let scale = SCALE.unsigned_abs();
        let (whole, fraction) = (magnitude / scale, magnitude % scale);
        let sign = if self.0 < 0 { "-" } else { "" };
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:010}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Amount {
    /// A text where people may read it, the raw number elsewhere.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i128(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
            Self::parse(&text).map_err(de::Error::custom)
        } else {
            i128::deserialize(deserializer).map(Self)
        }
    }
}
