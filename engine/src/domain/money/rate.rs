//! Exchange rates: quotients of stored rates, compared and multiplied without rounding.
//!
//! # Invariants
//! - A rate is above zero, so neither side of the quotient is zero.

use bnum::cast::As;
use bnum::types::U512;
use serde::{Deserialize, Serialize};

use super::{Amount, SCALE};

/// A rate as it results from a look-up: `num[0] x num[1] / (den[0] x den[1])`, never rounded.
///
/// The factors are stored rates in their smallest part, and the scale that they are parts of. A
/// scale on both sides is left out (`1` stands in its place), so that the products of every day
/// stay within 128 bits.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct FxRate {
    pub(super) num: [i128; 2],
    pub(super) den: [i128; 2],
}

impl FxRate {
    /// The rate between equal currencies.
    pub const ONE: FxRate = FxRate { num: [1, 1], den: [1, 1] };

    /// A quoted rate; it must be above zero.
    pub fn direct(rate: Amount) -> Self {
        debug_assert!(rate.0 > 0, "rates that are not positive are rejected at the door");
        Self { num: [rate.0, 1], den: [SCALE, 1] }
    }

    /// One over a quoted rate; it must be above zero.
    pub fn inverse(rate: Amount) -> Self {
        debug_assert!(rate.0 > 0, "rates that are not positive are rejected at the door");
        Self { num: [SCALE, 1], den: [rate.0, 1] }
    }

    /// The product of two rates that are each direct or inverse.
    pub fn cross(first: FxRate, second: FxRate) -> Self {
        debug_assert!(first.num[1] == 1 && first.den[1] == 1, "a leg is a single quote");
        debug_assert!(second.num[1] == 1 && second.den[1] == 1, "a leg is a single quote");
        let mut num = [first.num[0], second.num[0]];
        let mut den = [first.den[0], second.den[0]];
        if let (Some(above), Some(below)) = (
            num.iter_mut().find(|factor| **factor == SCALE),
            den.iter_mut().find(|factor| **factor == SCALE),
        ) {
            (*above, *below) = (1, 1);
        }
        Self { num, den }
    }

    /// Factors of the numerator and of the denominator, for whoever stores the rate as it is.
    pub fn parts(&self) -> ([i128; 2], [i128; 2]) {
        (self.num, self.den)
    }

    /// A rate from its [`parts`](Self::parts); none if a factor is not above zero.
    pub fn from_parts(num: [i128; 2], den: [i128; 2]) -> Option<Self> {
        let is_positive = num.iter().chain(&den).all(|factor| *factor > 0);
        is_positive.then_some(Self { num, den })
    }

    /// Whether the rate is exactly one.
    pub fn is_one(&self) -> bool {
        let product = |factors: [i128; 2]| factors[0].checked_mul(factors[1]);
        match (product(self.num), product(self.den)) {
            (Some(num), Some(den)) => num == den,
            _ => *self == Self::ONE,
        }
    }

    /// The rate rounded half-even to ten decimals, for a stored column; `None` where it does not
    /// fit 18 digits before the point.
    pub fn rounded(&self) -> Option<Amount> {
        Amount::ONE.convert(self)
    }

    fn cross_product(num: [i128; 2], den: [i128; 2]) -> U512 {
        [num[0], num[1], den[0], den[1]].iter().fold(1_u128.as_(), |product: U512, factor| {
            let wide: U512 = factor.unsigned_abs().as_();
            product * wide
        })
    }
}

impl PartialEq for FxRate {
    /// Equal as numbers, however the quotient is written.
    fn eq(&self, other: &Self) -> bool {
        (self.num == other.num && self.den == other.den)
            || Self::cross_product(self.num, other.den) == Self::cross_product(other.num, self.den)
    }
}

impl Eq for FxRate {}
