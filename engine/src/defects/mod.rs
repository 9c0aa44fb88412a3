//! Planted defects: mistakes that systems of this kind have shipped, to be put back by name.
//!
//! Each takes out one protection of the engine, or of a statement of the simulated database that
//! stands for its SQL. The harness must find it without knowing which one it is; so it is known how
//! much the harness finds.
//!
//! Only builds with the feature `defects` can plant anything; in all others [`is_planted`] is a
//! constant, and no trace of any defect is left.
//!
//! # Invariants
//! - What is planted belongs to the thread that runs, and is chosen before the run.

mod catalogue;

pub use catalogue::Defect;

#[cfg(feature = "defects")]
thread_local! {
    /// One bit per defect.
    static PLANTED: std::cell::Cell<u128> = const { std::cell::Cell::new(0) };
}

/// Whether a protection is taken out.
#[cfg(feature = "defects")]
pub fn is_planted(defect: Defect) -> bool {
    PLANTED.get() & bit(defect) != 0
}

/// Whether a protection is taken out: never in this build.
#[cfg(not(feature = "defects"))]
#[inline(always)]
pub const fn is_planted(_: Defect) -> bool {
    false
}

/// Whether any protection is taken out: what is planted may call what a sound engine never calls.
#[cfg(feature = "defects")]
pub fn is_any_planted() -> bool {
    PLANTED.get() != 0
}

/// Whether any protection is taken out: never in this build.
#[cfg(not(feature = "defects"))]
#[inline(always)]
pub const fn is_any_planted() -> bool {
    false
}

/// Takes out a protection, with those that would mask it, from now on in this thread; none puts all
/// of them back.
#[cfg(feature = "defects")]
pub fn plant(defect: Option<Defect>) {
    let planted = defect.map_or(0, |defect| {
        defect.masks().iter().fold(bit(defect), |bits, mask| bits | bit(*mask))
    });
    PLANTED.set(planted);
}

#[cfg(feature = "defects")]
const fn bit(defect: Defect) -> u128 {
    1 << defect as u32
}

#[cfg(all(test, feature = "defects"))]
mod tests {
    use super::*;

    #[test]
    fn a_defect_is_planted_with_its_masks_and_taken_out_again() {
        assert!(Defect::ALL.len() <= 128, "one bit each");
        for defect in Defect::ALL {
            plant(Some(*defect));
            for other in Defect::ALL {
                let expected = other == defect || defect.masks().contains(other);
                assert_eq!(is_planted(*other), expected, "{} in {}", other.name(), defect.name());
            }
            assert_eq!(Defect::parse(defect.name()), Some(*defect));
        }
        plant(None);
        assert!(Defect::ALL.iter().all(|defect| !is_planted(*defect)));
    }
}
