//! Decimals in PostgreSQL's binary form: groups of four digits, without a text in between.
//!
//! A value is `sign x sum(group[i] x 10000^(weight - i))`. The point lies between groups, so ten
//! decimals take three groups, of which the last ends in two zeros.
//!
//! # Invariants
//! - What is decoded is exactly what was encoded; a value with more decimals than asked for is an
//!   error, never rounded.

use sqlx::error::BoxDynError;

const NEGATIVE: u16 = 0x4000;
/// Ten decimals, as [`crate::domain::money::Amount`] has them.
pub(super) const AMOUNT_DECIMALS: i32 = 10;
const AMOUNT_SCALE: u128 = 10_u128.pow(AMOUNT_DECIMALS as u32);
/// Groups of a number: eight before the point for what 128 bits hold, three after it.
const GROUPS_MAX: usize = 13;

/// Encodes a number given in its smallest part, 10^-10.
pub(super) fn encode_amount(raw: i128, buffer: &mut Vec<u8>) {
    let magnitude = raw.unsigned_abs();
    let (whole, fraction) = match u64::try_from(magnitude) {
        // Division of 64 bits is several times as fast, and most numbers fit.
        Ok(small) => {
            let scale = AMOUNT_SCALE as u64;
            (u128::from(small / scale), small % scale)
        }
        Err(_) => (magnitude / AMOUNT_SCALE, (magnitude % AMOUNT_SCALE) as u64),
    };
    encode(raw < 0, whole, fraction, buffer);
}

/// Encodes a whole number.
pub(super) fn encode_whole(number: i128, buffer: &mut Vec<u8>) {
    encode(number < 0, number.unsigned_abs(), 0, buffer);
}

fn encode(negative: bool, whole: u128, fraction: u64, buffer: &mut Vec<u8>) {
    let mut groups = [0_u16; GROUPS_MAX];
    // Groups before the point, from the point leftwards; the last slot of them is index 9.
    const POINT: usize = 10;
    let mut first = POINT;
    let mut rest = whole;
    while rest > u128::from(u64::MAX) {
        first -= 1;
        groups[first] = (rest % 10_000) as u16;
        rest /= 10_000;
    }
    let mut rest = rest as u64;
    while rest > 0 {
        first -= 1;
        groups[first] = (rest % 10_000) as u16;
        rest /= 10_000;
    }
    let shifted = fraction * 100;
    groups[POINT] = (shifted / 100_000_000) as u16;
    groups[POINT + 1] = (shifted / 10_000 % 10_000) as u16;
    groups[POINT + 2] = (shifted % 10_000) as u16;
    while first < GROUPS_MAX && groups[first] == 0 {
        first += 1;
    }
    let mut end = GROUPS_MAX;
    while end > first && groups[end - 1] == 0 {
        end -= 1;
    }
    let count = (end - first) as i16;
    let weight = if count == 0 { 0 } else { POINT as i16 - 1 - first as i16 };
    let sign = if negative && count > 0 { NEGATIVE } else { 0 };
    buffer.extend_from_slice(&count.to_be_bytes());
    buffer.extend_from_slice(&weight.to_be_bytes());
    buffer.extend_from_slice(&sign.to_be_bytes());
    buffer.extend_from_slice(&decimals(fraction).to_be_bytes());
    for group in &groups[first..end] {
        buffer.extend_from_slice(&group.to_be_bytes());
    }
}

/// Decimals of a fraction of ten digits without trailing zeros.
fn decimals(fraction: u64) -> u16 {
    if fraction == 0 {
        return 0;
    }
    let mut decimals = AMOUNT_DECIMALS as u16;
    let mut rest = fraction;
    while rest.is_multiple_of(10) {
        rest /= 10;
        decimals -= 1;
    }
    decimals
}

/// Decodes a number as a multiple of 10^-`scale`.
///
/// # Errors
/// A number that is none (NaN, infinity), has more decimals, or exceeds 128 bits.
pub(super) fn decode(bytes: &[u8], scale: i32) -> Result<i128, BoxDynError> {
    let mut words = bytes.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let mut header = || words.next().ok_or("a numeric that ends early");
    let (_count, weight, sign, _decimals) = (header()?, header()?, header()?, header()?);
    if sign != 0 && sign != NEGATIVE {
        return Err("a numeric that is not a number".into());
    }
    let weight = i32::from(weight as i16);
    let mut magnitude: i128 = 0;
    for (place, group) in (0_i32..).zip(words) {
        let exponent = 4 * (weight - place) + scale;
        let group = i128::from(group);
        let part = match u32::try_from(exponent) {
            Ok(exponent) => {
                10_i128.checked_pow(exponent).and_then(|power| group.checked_mul(power))
            }
            Err(_) => {
                let divisor = 10_i128.checked_pow(exponent.unsigned_abs()).unwrap_or(i128::MAX);
                if group % divisor != 0 {
                    return Err(format!("a numeric of more than {scale} decimals").into());
                }
                Some(group / divisor)
            }
        };
        let sum = part.and_then(|part| magnitude.checked_add(part));
        magnitude = sum.ok_or("a numeric that does not fit 128 bits")?;
    }
    Ok(if sign == NEGATIVE { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(raw: i128) -> i128 {
        let mut bytes = Vec::new();
        encode_amount(raw, &mut bytes);
        decode(&bytes, AMOUNT_DECIMALS).expect("what was encoded can be decoded")
    }

    fn whole(number: i128) -> i128 {
        let mut bytes = Vec::new();
        encode_whole(number, &mut bytes);
        decode(&bytes, 0).expect("what was encoded can be decoded")
    }

    #[test]
    fn edges_survive() {
        let mut edge = 1_i128;
        for _ in 0..37 {
            for raw in [edge - 1, edge, edge + 1, 1 - edge, -edge, -edge - 1] {
                assert_eq!(amount(raw), raw);
                assert_eq!(whole(raw), raw);
            }
            edge *= 10;
        }
        assert_eq!(amount(i128::MAX), i128::MAX);
        assert_eq!(whole(i128::MAX), i128::MAX);
    }

    #[test]
    fn the_form_is_the_servers() {
        let mut bytes = Vec::new();
        // 12345.67: groups 1, 2345, 6700; weight 1; two decimals.
        encode_amount(123_456_700_000_000, &mut bytes);
        let words: Vec<u16> =
            bytes.chunks(2).map(|word| u16::from_be_bytes([word[0], word[1]])).collect();
        assert_eq!(words, [3, 1, 0, 2, 1, 2345, 6700]);
    }

    #[test]
    fn what_would_be_rounded_is_refused() {
        let mut bytes = Vec::new();
        encode_amount(1, &mut bytes);
        assert!(decode(&bytes, 0).is_err());
        assert!(decode(&[0, 0, 0, 0, 0xc0, 0, 0, 0], 0).is_err(), "NaN");
    }

    proptest::proptest! {
        #[test]
        fn every_amount_survives(raw: i128) {
            proptest::prop_assert_eq!(whole(raw.max(-i128::MAX)), raw.max(-i128::MAX));
            proptest::prop_assert_eq!(amount(raw.max(-i128::MAX)), raw.max(-i128::MAX));
        }

        #[test]
        fn every_small_amount_survives(raw: i64) {
            proptest::prop_assert_eq!(amount(i128::from(raw)), i128::from(raw));
        }
    }
}
