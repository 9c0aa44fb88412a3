//! Every route that there is, with all that it may answer.

use crate::ports::network::Right;

/// A route.
#[derive(Debug)]
pub struct Route {
    /// Method and path, e.g. `GET /portfolios/{portfolio_id}/positions`.
    pub name: &'static str,
    /// What it is for.
    pub summary: &'static str,
    /// What whoever asks must be allowed.
    pub right: Right,
    /// Names of its query parameters.
    pub parameters: &'static [&'static str],
    /// Types of a body that it reads.
    pub bodies: &'static [&'static str],
    /// Every status that it may answer with.
    pub statuses: &'static [u16],
}

impl Route {
    /// Its method.
    pub fn method(&self) -> &'static str {
        self.name.split_once(' ').map_or("", |(method, _)| method)
    }

    /// Its path, with names in braces.
    pub fn path(&self) -> &'static str {
        self.name.split_once(' ').map_or("", |(_, path)| path)
    }

    /// Names of the parameters in its path.
    pub fn path_parameters(&self) -> impl Iterator<Item = &'static str> + use<> {
        let parts = self.path().split('/');
        parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// All of them.
pub const ALL: &[&Route] = &[
    &POSITIONS,
    &HISTORY,
    &CASHFLOWS,
    &TIMESERIES,
    &OVERVIEW,
    &STUCK,
    &VALUATION_JOBS,
    &LINEAGE,
    &OPENAPI,
    &REPROCESS,
    &PUT_PORTFOLIOS,
    &PUT_INSTRUMENTS,
    &PUT_BUSINESS_DATES,
    &PUT_TRANSACTIONS,
    &PUT_PRICES,
    &PUT_RATES,
];

/// Positions of a portfolio.
pub const POSITIONS: Route = Route {
    name: "GET /portfolios/{portfolio_id}/positions",
    summary: "Positions of a portfolio at their served versions",
    right: Right::Read,
    parameters: &["as_of_date"],
    bodies: &[],
    statuses: &[200, 304, 400, 401, 404, 421, 500, 503],
};

/// History of a position.
pub const HISTORY: Route = Route {
    name: "GET /portfolios/{portfolio_id}/positions/{security_id}/history",
    summary: "The position after each applied transaction",
    right: Right::Read,
    parameters: &["after", "limit"],
    bodies: &[],
    statuses: &[200, 304, 400, 401, 404, 409, 421, 500, 503],
};

/// Cash flows of a portfolio.
pub const CASHFLOWS: Route = Route {
    name: "GET /portfolios/{portfolio_id}/cashflows",
    summary: "The cash flow of each applied transaction, each key at its served version",
    right: Right::Read,
    parameters: &["after", "from", "limit", "to"],
    bodies: &[],
    statuses: &[200, 304, 400, 401, 404, 409, 421, 500, 503],
};

/// Series of a portfolio.
pub const TIMESERIES: Route = Route {
    name: "GET /portfolios/{portfolio_id}/timeseries",
    summary: "What a portfolio was worth at both ends of each business date",
    right: Right::Read,
    parameters: &["after", "from", "limit", "to"],
    bodies: &[],
    statuses: &[200, 304, 400, 401, 404, 421, 500, 503],
};

/// How a portfolio stands.
pub const OVERVIEW: Route = Route {
    name: "GET /support/portfolios/{portfolio_id}/overview",
    summary: "How a portfolio stands, in counts",
    right: Right::Read,
    parameters: &[],
    bodies: &[],
    statuses: &[200, 304, 400, 401, 404, 421, 500, 503],
};

/// Keys that are being reprocessed for long.
pub const STUCK: Route = Route {
    name: "GET /support/reprocessing",
    summary: "Keys that are being reprocessed and have not changed for a while",
    right: Right::Read,
    parameters: &["after", "limit", "older_than"],
    bodies: &[],
    statuses: &[200, 304, 400, 401, 421, 500, 503],
};

/// What is to be valued.
pub const VALUATION_JOBS: Route = Route {
    name: "GET /support/valuation-jobs",
    summary: "Valuation jobs that are not done",
    right: Right::Read,
    parameters: &["after", "limit", "status"],
    bodies: &[],
    statuses: &[200, 304, 400, 401, 421, 500, 503],
};

/// Where a key is.
pub const LINEAGE: Route = Route {
    name: "GET /lineage/portfolios/{portfolio_id}/securities/{security_id}",
    summary: "Where a key is, and what it waits for",
    right: Right::Read,
    parameters: &["limit"],
    bodies: &[],
    statuses: &[200, 304, 400, 401, 404, 421, 500, 503],
};

/// This list.
pub const OPENAPI: Route = Route {
    name: "GET /openapi.json",
    summary: "This document",
    right: Right::Read,
    parameters: &[],
    bodies: &[],
    statuses: &[200, 304, 400, 401, 421],
};

/// Transactions, to be looked at once more.
pub const REPROCESS: Route = Route {
    name: "POST /reprocess/transactions",
    summary: "Has stored transactions looked at once more",
    right: Right::Operate,
    parameters: &[],
    bodies: &["application/json"],
    statuses: &[202, 400, 401, 403, 404, 408, 413, 415, 421, 500, 503],
};

/// Portfolios, to be stored.
pub const PUT_PORTFOLIOS: Route = Route {
    name: "POST /portfolios",
    summary: "Takes portfolios, all of them or none",
    right: Right::Operate,
    parameters: &[],
    bodies: &["application/json", "text/csv"],
    statuses: &[202, 400, 401, 403, 408, 413, 415, 421, 422, 500, 503],
};

/// Instruments, to be stored.
pub const PUT_INSTRUMENTS: Route = Route {
    name: "POST /instruments",
    summary: "Takes instruments, all of them or none",
    right: Right::Operate,
    parameters: &[],
    bodies: &["application/json", "text/csv"],
    statuses: &[202, 400, 401, 403, 408, 413, 415, 421, 422, 500, 503],
};

/// Business dates, to be stored.
pub const PUT_BUSINESS_DATES: Route = Route {
    name: "POST /business-dates",
    summary: "Takes business dates, all of them or none",
    right: Right::Operate,
    parameters: &[],
    bodies: &["application/json", "text/csv"],
    statuses: &[202, 400, 401, 403, 408, 413, 415, 421, 422, 500, 503],
};

/// Transactions, to be stored.
pub const PUT_TRANSACTIONS: Route = Route {
    name: "POST /transactions",
    summary: "Takes transactions, all of them or none",
    right: Right::Operate,
    parameters: &[],
    bodies: &["application/json", "text/csv"],
    statuses: &[202, 400, 401, 403, 408, 413, 415, 421, 422, 500, 503],
};

/// Prices, to be stored.
pub const PUT_PRICES: Route = Route {
    name: "POST /market-prices",
    summary: "Takes prices, all of them or none",
    right: Right::Operate,
    parameters: &[],
    bodies: &["application/json", "text/csv"],
    statuses: &[202, 400, 401, 403, 408, 413, 415, 421, 422, 500, 503],
};

/// Rates, to be stored.
pub const PUT_RATES: Route = Route {
    name: "POST /fx-rates",
    summary: "Takes rates, all of them or none",
    right: Right::Operate,
    parameters: &[],
    bodies: &["application/json", "text/csv"],
    statuses: &[202, 400, 401, 403, 408, 413, 415, 421, 422, 500, 503],
};

/// Whatever else is asked for.
pub(super) const ELSE: Route = Route {
    name: "*",
    summary: "",
    right: Right::Read,
    parameters: &[],
    bodies: &[],
    statuses: &[401, 404, 405, 421],
};
