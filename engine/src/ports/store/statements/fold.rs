//! What folding a key reads and writes: its timeline, history and lots, and replays of them.

use serde::{Deserialize, Serialize};

use super::super::rows::{
    EpochRow, HistoryRow, InstrumentRow, LotRow, PortfolioRow, ReplayRow, TimelineRow,
    TransactionRow,
};
use crate::domain::ids::{Currency, Epoch, Key, PortfolioId, SecurityId, TransactionId};
use crate::domain::money::{Amount, FxRate};
use crate::domain::records::Place;
use crate::domain::time::Date;

statements! {
    /// `SELECT * FROM transactions WHERE transaction_id = ANY($ids) ORDER BY transaction_id`, no
    /// lock.
    ReadTransactions {
        /// Identities.
        ids: Vec<TransactionId>,
    } -> Vec<TransactionRow>;

    /// `SELECT * FROM portfolios WHERE portfolio_id = ANY($ids) ORDER BY 1`, no lock.
    ReadPortfolios {
        /// Identities.
        ids: Vec<PortfolioId>,
    } -> Vec<PortfolioRow>;

    /// `SELECT * FROM instruments WHERE security_id = ANY($ids) ORDER BY 1`, no lock.
    ReadInstruments {
        /// Identities.
        ids: Vec<SecurityId>,
    } -> Vec<InstrumentRow>;

    /// `SELECT * FROM position_timeline WHERE (key, transaction_id) = ANY($ids)`: entries by
    /// identity, wherever they are.
    ReadTimelineEntries {
        /// Key and transaction.
        ids: Vec<(Key, TransactionId)>,
    } -> Vec<TimelineRow>;

    /// Per key of `$keys`: `SELECT key, place FROM position_timeline WHERE key = .. ORDER BY place
    /// DESC LIMIT 1`.
    ReadTimelineTails {
        /// Keys.
        keys: Vec<Key>,
    } -> Vec<(Key, Place)>;

    /// Per key of `$keys`: `SELECT * FROM position_timeline WHERE key = .. ORDER BY place LIMIT 1`.
    ReadTimelineHeads {
        /// Keys.
        keys: Vec<Key>,
    } -> Vec<TimelineRow>;

    /// Per (key, after) of `$ranges`: `SELECT * FROM position_timeline WHERE key = .. AND place >
    /// $after ORDER BY place LIMIT $limit` (no `after`: from the first).
    ReadTimelineChunks {
        /// Key and the place before the chunk.
        ranges: Vec<(Key, Option<Place>)>,
        /// At most so many rows per key.
        limit: u32,
    } -> Vec<TimelineRow>;

    /// Per (key, from) of `$keys`: `SELECT place, trade_currency, outcome FROM position_timeline
    /// WHERE key = .. AND place >= start of $from AND outcome IS NOT NULL ORDER BY place`: the
    /// rates that transactions were folded with.
    ReadTimelineRates {
        /// Key and first date.
        keys: Vec<(Key, Date)>,
    } -> Vec<TimelineRate>;

    /// `DELETE FROM position_timeline WHERE (key, place) = ANY($places)`
    DeleteTimeline {
        /// Key and place.
        places: Vec<(Key, Place)>,
    } -> ();

    /// `INSERT INTO position_timeline ..` of `$new`, then the same with `ON CONFLICT (key, place)
    /// DO UPDATE SET ..` of `$rows`. One statement each in SQL, none for no rows.
    UpsertTimeline {
        /// Rows that are not there, in (key, place) order.
        new: Vec<TimelineRow>,
        /// Rows that may be there, in (key, place) order.
        rows: Vec<TimelineRow>,
    } -> ();

    /// `INSERT INTO position_history ..`; PK (key, place, epoch).
    InsertHistory {
        /// Rows in (key, place) order.
        rows: Vec<HistoryRow>,
    } -> ();

    /// `DELETE FROM position_history USING unnest($ranges) WHERE key = .. AND epoch = .. AND date
    /// >= from_date`, and the same of `cashflows`: a rewind.
    DeleteHistory {
        /// Key, epoch and first date.
        ranges: Vec<(Key, Epoch, Date)>,
    } -> ();

    /// Deletes the rows of `position_history`, `daily_position_snapshots`, `cashflows` and
    /// `position_timeseries` that are not valid any more once `epoch` is the served one: rows of an
    /// epoch e < `epoch` dated on or after the `from_date` of an epoch in (e, `epoch`] (by
    /// `position_epochs`); and the rows of `position_epochs` that cut off nothing which an epoch in
    /// (e, `epoch`] does not cut off too, as it starts no later. Rows of epochs above `epoch` stay.
    PruneEpochs {
        /// Key and its served epoch.
        keys: Vec<(Key, Epoch)>,
    } -> ();

    /// The oldest lots of each key: the first one, and those after it until they hold so many
    /// units. `ORDER BY key, opened`. It must look at no others: a key may have very many.
    ReadLots {
        /// Keys in order, each once, and units.
        keys: Vec<(Key, Amount)>,
    } -> Vec<LotRow>;

    /// `DELETE FROM position_lots WHERE (key, opened) = ANY($lots)`
    DeleteLots {
        /// Key and opening place.
        lots: Vec<(Key, Place)>,
    } -> ();

    /// `DELETE FROM position_lots WHERE key = ANY($keys)`: a fold starts anew.
    ResetLots {
        /// Keys.
        keys: Vec<Key>,
    } -> ();

    /// `COPY position_lots FROM STDIN BINARY` of those that are new, `INSERT INTO position_lots ..
    /// ON CONFLICT (key, opened) DO UPDATE SET ..` of the others.
    UpsertLots {
        /// Rows that are not there, in (key, opened) order.
        new: Vec<LotRow>,
        /// Rows that may be there, in (key, opened) order.
        rows: Vec<LotRow>,
    } -> ();

    /// `INSERT INTO position_epochs .. ON CONFLICT (key, epoch) DO UPDATE SET from_date =
    /// LEAST(from_date, excluded.from_date)`, and in the same statement `DELETE FROM
    /// position_epochs p USING unnest($rows) r, position_state ps WHERE p.epoch > ps.served_epoch
    /// AND p.epoch < r.epoch AND p.from_date >= r.from_date` of each key: an epoch that was never
    /// served is asked for by nobody once a later one has begun, and what it cuts off that one cuts
    /// off too.
    UpsertEpochs {
        /// Rows in key order, at most one of a key.
        rows: Vec<EpochRow>,
    } -> ();

    /// `SELECT * FROM replays WHERE key = ANY($keys) ORDER BY key`
    ReadReplays {
        /// Keys.
        keys: Vec<Key>,
    } -> Vec<ReplayRow>;

    /// `SELECT key FROM replays WHERE key > $after ORDER BY key LIMIT $limit`, no lock.
    FindReplays {
        /// Keys after this one; none: from the first.
        after: Option<Key>,
        /// At most so many.
        limit: u32,
    } -> Vec<Key>;

    /// `INSERT INTO replays .. ON CONFLICT (key) DO UPDATE SET epoch, from_date, cursor`
    UpsertReplays {
        /// Rows.
        rows: Vec<ReplayRow>,
    } -> ();

    /// `DELETE FROM replays WHERE key = ANY($keys)`
    DeleteReplays {
        /// Keys.
        keys: Vec<Key>,
    } -> ();
}

/// A transaction's rate as folded, see [`ReadTimelineRates`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineRate {
    /// The key.
    pub key: Key,
    /// The place.
    pub place: Place,
    /// Trade currency.
    pub trade_currency: Currency,
    /// The rate that it was folded with; none if there was none.
    pub fx: Option<FxRate>,
}
