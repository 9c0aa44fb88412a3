//! One suite of claims per port, run on the simulated and on the real service with the same bodies.
//!
//! A body is an async function over a [`site::Site`]; the macro `contract!` makes two tests of each
//! one, `NAME::sim` and `NAME::real`. What a body cannot say of both is not part of the contract;
//! what only one of them does stands in the ledger of the differential runs.

mod clock;
mod cluster;
pub(crate) mod fixtures;
mod log;
mod proxy;
pub(crate) mod real;
pub(crate) mod sim;
pub(crate) mod site;
mod store;

/// Makes two tests of each body: `contract!(store: a_claim; another_claim { setting: 1 };)` runs
/// `a_claim` at the sites `sim::store` and `real::store`, with settings by default, or with these.
macro_rules! contract {
    ($port:ident($settings:ident):
        $($body:ident as $name:ident $({ $($field:ident: $value:expr),* })?;)+) => {$(
        mod $name {
            #[allow(clippy::needless_update, reason = "not every port has settings")]
            fn settings() -> crate::contract::site::$settings {
                crate::contract::site::$settings {
                    $($($field: $value,)*)?
                    ..Default::default()
                }
            }

            #[test]
            fn sim() {
                crate::contract::sim::$port(settings(), |site| super::$body(site));
            }

            #[test]
            fn real() {
                crate::contract::real::$port(settings(), |site| super::$body(site));
            }
        }
    )+};
}
use contract;
