//! What the engine knows about the world: the content of inputs, and the vocabulary of results.
//!
//! Data only. Reading them from messages is [`super::intake`], folding them is [`super::cost`].

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::ids::{Currency, Key, PortfolioId, SecurityId, TransactionId};
use super::money::{Amount, FxRate};
use super::time::{Date, Timestamp};

macro_rules! named {
    (
        $(#[$doc:meta])* $name:ident {
            $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(::serde::Serialize, ::serde::Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// All of them, in the order of the contract.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// The name in messages and tables.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }

            /// The one with that name.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some($name::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use named;

mod flows;
mod series;

pub use flows::{Cashflow, Classification, Timing};
pub use series::{PortfolioSeries, PositionSeries};

named!(
    /// Type of a transaction.
    TransactionType {
        /// A purchase: a new lot.
        Buy = "BUY",
        /// A sale: lots are consumed.
        Sell = "SELL",
        /// Units arrive from another portfolio: a new lot.
        TransferIn = "TRANSFER_IN",
        /// Units leave for another portfolio: lots are consumed.
        TransferOut = "TRANSFER_OUT",
        /// Cash arrives: a new lot of gross units.
        Deposit = "DEPOSIT",
        /// Cash leaves: gross units are taken.
        Withdrawal = "WITHDRAWAL",
        /// A fee in cash: gross units are taken.
        Fee = "FEE",
        /// A tax in cash: gross units are taken.
        Tax = "TAX",
        /// Income that moves no units.
        Dividend = "DIVIDEND",
        /// Income that moves no units.
        Interest = "INTEREST",
    }
);

impl TransactionType {
    /// Place among transactions of one timestamp: what adds units comes first.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Buy | Self::TransferIn | Self::Deposit => 0,
            _ => 1,
        }
    }
}

named!(
    /// How the cost of what is sold is found.
    CostMethod {
        /// The oldest lot in the timeline is consumed first.
        Fifo = "FIFO",
        /// One pool per key.
        Avco = "AVCO",
    }
);

named!(
    /// Why a transaction could not be applied at its place, tested in this order.
    ParkReason {
        /// Its portfolio is not known.
        NoPortfolio = "NO_PORTFOLIO",
        /// No rate from its trade currency to the portfolio's base currency.
        NoFx = "NO_FX",
        /// A SELL or TRANSFER_OUT of more than the open lots.
        NoLots = "NO_LOTS",
        /// A result does not fit 18 digits before the point.
        Overflow = "OVERFLOW",
    }
);

named!(
    /// How a snapshot came to its value.
    ValuationStatus {
        /// Price of that very date and all rates.
        ValuedCurrent = "VALUED_CURRENT",
        /// An older price and all rates.
        ValuedStale = "VALUED_STALE",
        /// No price on or before the date.
        Unvalued = "UNVALUED",
        /// A needed rate is missing, or a value does not fit.
        Failed = "FAILED",
    }
);

named!(
    /// Whether a key is being reprocessed.
    KeyStatus {
        /// No replay is open and the watermark has reached the latest business date.
        Current = "CURRENT",
        /// Invalidated, not yet complete again.
        Reprocessing = "REPROCESSING",
    }
);

/// What of a transaction decides its place, costs and flows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Terms {
    /// When it happened.
    pub at: Timestamp,
    /// Type.
    pub kind: TransactionType,
    /// Units as booked; what moves the position depends on the type.
    pub quantity: Amount,
    /// Price per unit, informative.
    pub price: Amount,
    /// Gross amount in trade currency.
    pub gross: Amount,
    /// Fee in trade currency.
    pub fee: Amount,
    /// Accrued interest in trade currency; absent means zero.
    pub accrued_interest: Amount,
    /// Calculation policy, e.g. `BUY_EXCLUDE_ACCRUED_INTEREST_FROM_BOOK_COST`.
    pub policy: Option<SmolStr>,
    /// Currency of the amounts.
    pub trade_currency: Currency,
    /// Currency in which cash flows are booked.
    pub currency: Currency,
}

/// A transaction as an input brings it (rounded as persisted).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Transaction {
    /// Identity.
    pub transaction_id: TransactionId,
    /// Portfolio and security.
    pub key: Key,
    /// The traded instrument's own id, informative.
    pub instrument_id: SmolStr,
    /// Settlement date as received; influences nothing.
    pub settlement_date: Option<SmolStr>,
    /// What decides.
    pub terms: Terms,
}

/// A price as quoted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MarketPrice {
    /// What is priced.
    pub security_id: SecurityId,
    /// Any calendar day.
    pub price_date: Date,
    /// Not negative.
    pub price: Amount,
    /// Currency of the quote.
    pub currency: Currency,
}

/// An exchange rate: one unit of `from_currency` costs `rate` units of `to_currency`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExchangeRate {
    /// What is bought.
    pub from_currency: Currency,
    /// What is paid.
    pub to_currency: Currency,
    /// Any calendar day.
    pub rate_date: Date,
    /// Above zero.
    pub rate: Amount,
}

/// A portfolio.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Portfolio {
    /// Identity.
    pub portfolio_id: PortfolioId,
    /// Currency of its values.
    pub base_currency: Currency,
    /// As received; influences nothing.
    pub open_date: SmolStr,
    /// How costs of sales are found.
    pub cost_basis_method: CostMethod,
}

/// An instrument.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Instrument {
    /// Identity.
    pub security_id: SecurityId,
    /// Currency of its local values.
    pub currency: Currency,
    /// As received; influences nothing.
    pub product_type: SmolStr,
}

/// A day of a calendar on which positions are valued (calendar `GLOBAL`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BusinessDate {
    /// The calendar; [`GLOBAL_CALENDAR`] is the only one that values anything.
    pub calendar_code: SmolStr,
    /// The day.
    pub business_date: Date,
}

/// The only calendar that the latest business date and valuation use.
pub const GLOBAL_CALENDAR: &str = "GLOBAL";

/// A transaction's place in its key's timeline: one total order, used everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Timestamp, UTC.
    pub at: Timestamp,
    /// [`TransactionType::rank`].
    pub rank: u8,
    /// Identity, by its UTF-8 bytes.
    pub transaction_id: TransactionId,
}

impl Place {
    /// The place of a transaction.
    pub fn of(transaction_id: &TransactionId, terms: &Terms) -> Self {
        Self { at: terms.at, rank: terms.kind.rank(), transaction_id: transaction_id.clone() }
    }

    /// A place before all transactions of that date and after all earlier ones.
    pub fn start_of(date: Date) -> Self {
        Self { at: date.start(), rank: 0, transaction_id: TransactionId::new("") }
    }

    /// The date of the place.
    pub fn date(&self) -> Date {
        self.at.date()
    }
}

/// What a key holds after a transaction; costs in base currency and local.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Units, negative while a debt is open.
    pub quantity: Amount,
    /// Cost in the portfolio's base currency.
    pub cost_basis: Amount,
    /// Cost in trade currency.
    pub cost_basis_local: Amount,
}

/// An open lot (of AVCO: the pool).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lot {
    /// Place of the transaction that opened it; of a pool [`Place::start_of`] [`Date::FIRST`].
    pub opened: Place,
    /// Units that remain.
    pub quantity: Amount,
    /// Base cost that remains.
    pub cost: Amount,
    /// Local cost that remains.
    pub cost_local: Amount,
}

/// The cost columns of an applied transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Costs {
    /// Base, without fee and accrued interest.
    pub gross_cost: Amount,
    /// Base.
    pub net_cost: Amount,
    /// In trade currency.
    pub net_cost_local: Amount,
    /// Base; only of BUY (0) and SELL.
    pub realized_gain_loss: Option<Amount>,
    /// In trade currency; only of BUY (0) and SELL.
    pub realized_gain_loss_local: Option<Amount>,
    /// Rate trade currency -> base, rounded for its column.
    pub transaction_fx_rate: Amount,
}

/// What became of a transaction at its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It counts.
    Applied(Costs),
    /// It stays in the timeline and counts for nothing.
    Parked(ParkReason),
}

/// The result of folding a transaction, with the rate it was folded with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Rate trade currency -> base at its date; none if there was none or no portfolio.
    pub fx: Option<FxRate>,
    /// Applied or parked.
    pub fate: Fate,
}

/// What a key's history is folded with, fixed for all rows of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldTerms {
    /// The portfolio's base currency.
    pub base_currency: Currency,
    /// The portfolio's cost method.
    pub method: CostMethod,
}

/// The four values of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Values {
    /// In base currency.
    pub market_value: Amount,
    /// In the instrument's currency.
    pub market_value_local: Amount,
    /// market_value - cost_basis.
    pub unrealized_gain_loss: Amount,
    /// market_value_local - cost_basis_local.
    pub unrealized_gain_loss_local: Amount,
}
