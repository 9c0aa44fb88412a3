//! Identities and versions that every other module speaks of.
//!
//! Newtypes only: no behaviour beyond parsing, ordering and printing. Text ids order by their UTF-8
//! bytes (`COLLATE "C"` in PostgreSQL), which is what `str` compares by.

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

macro_rules! text_id {
    ($(#[$doc:meta] $name:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(SmolStr);

        impl $name {
            /// Wraps a text; any text is a valid identity.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(SmolStr::new(text))
            }

            /// The identity as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0.as_str())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }
    )+};
}

text_id!(
    /// Identity of a portfolio.
    PortfolioId,
    /// Identity of a security.
    SecurityId,
    /// Identity of a transaction, global over all portfolios.
    TransactionId,
    /// ISO 4217 code, compared as text.
    Currency,
);

impl Currency {
    /// The pivot of cross rates.
    pub fn eur() -> Self {
        Self::new("EUR")
    }
}

/// What everything is reprocessed by: one security held in one portfolio.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The holder.
    pub portfolio_id: PortfolioId,
    /// What is held.
    pub security_id: SecurityId,
}

impl Key {
    /// The key of a security in a portfolio.
    pub fn new(portfolio_id: impl Into<PortfolioId>, security_id: impl Into<SecurityId>) -> Self {
        Self { portfolio_id: portfolio_id.into(), security_id: security_id.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.portfolio_id, self.security_id)
    }
}

/// Version of a key's history; a rebuild of the history starts a new one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The epoch that a rebuild starts.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Number that every invalidation of a key raises by one and that is never reset.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision that an invalidation starts.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The fencing token of a key. Revision alone orders tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Token {
    /// Version of the history.
    pub epoch: Epoch,
    /// Number of invalidations so far.
    pub revision: Revision,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch.0, self.revision.0)
    }
}
