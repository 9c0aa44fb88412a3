//! Claims about reading, rounding and multiplying exact decimals.

use super::*;

fn amount(text: &str) -> Amount {
    Amount::parse(text).expect("a number")
}

#[test]
fn inputs_are_rounded_half_even_to_ten_decimals() {
    for (text, expected) in [
        ("0.00000000005", "0"),
        ("0.00000000015", "0.0000000002"),
        ("0.00000000025", "0.0000000002"),
        ("0.000000000250000000000000000001", "0.0000000003"),
        ("-1.00000000005", "-1"),
        ("-1.00000000015", "-1.0000000002"),
        ("1e3", "1000"),
        ("12.5E-1", "1.25"),
        ("007.50", "7.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1e-400", "0"),
        ("0e999999999999", "0"),
        ("999999999999999999.9999999999", "999999999999999999.9999999999"),
    ] {
        assert_eq!(Amount::parse(text).map(|a| a.to_string()).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_number_is_refused() {
    for text in ["", "-", ".", "1,5", "0x10", "NaN", "1e", "1e+", "--1", "1 2", "∞"] {
        assert_eq!(Amount::parse(text), Err(ParseAmountError::NotANumber), "{text:?}");
    }
    for text in ["1e18", "1000000000000000000", "1e400", "999999999999999999.99999999995"] {
        assert_eq!(Amount::parse(text), Err(ParseAmountError::TooLarge), "{text:?}");
    }
}

#[test]
fn products_are_rounded_once() {
    // Two roundings would give 0.5 -> 0 -> 0; the exact product is 0.00000000005000...5.
    let product = amount("0.0000000001").times(amount("0.5000000001"), &FxRate::ONE);
    assert_eq!(product, Some(amount("0.0000000001")));
    let third = Amount::ONE.convert(&FxRate::inverse(amount("3")));
    assert_eq!(third, Some(amount("0.3333333333")));
    let back = amount("3000000").convert(&FxRate::inverse(amount("3")));
    assert_eq!(back, Some(amount("1000000")), "an inverse is not rounded before use");
}

#[test]
fn wide_products_are_exact_and_what_does_not_fit_is_none() {
    let large = amount("99999999999.9999999999");
    assert_eq!(large.times(large, &FxRate::ONE), None);
    let rate = FxRate::cross(FxRate::inverse(large), FxRate::direct(large));
    assert_eq!(amount("123.456").convert(&rate), Some(amount("123.456")));
    assert_eq!(rate, FxRate::ONE);
    assert_eq!(amount("100").share(amount("1"), amount("3")), Some(amount("33.3333333333")));
}
