//! Sees snapshots as they are committed, by logical decoding.
//!
//! The publication has the snapshots of one date with no more than their key and quantity, so that
//! a poll costs the server little. The slot is temporary: nothing stays if the benchmark dies.
//!
//! Source: "Logical Replication Message Formats" in the documentation of PostgreSQL 15.

use backdate_engine::adapters::postgres::config::PostgresConfig;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor, Row};

use super::copy::connect;

/// Microseconds from 1970-01-01 to 2000-01-01, from where the server counts.
const TO_2000: i64 = 946_684_800_000_000;
/// Name of publication and slot, behind the name of the schema.
const SUFFIX: &str = "_watch";

/// A snapshot that was committed.
pub(super) struct Seen {
    /// Portfolio and security.
    pub(super) key: (String, String),
    /// Units of the position.
    pub(super) quantity: usize,
    /// The database's time of the commit, in microseconds since 1970.
    pub(super) at: i64,
}

/// A session that watches.
pub(super) struct Watch {
    connection: PgConnection,
    name: String,
    /// Time of the commit that is being read.
    at: i64,
}

impl Watch {
    /// Begins to watch the snapshots of a date.
    pub(super) async fn start(config: &PostgresConfig, date: &str) -> Self {
        let mut connection = connect(config).await;
        let name = format!("{}{SUFFIX}", config.schema);
        for sql in [
            format!(
                "CREATE PUBLICATION {name} FOR TABLE daily_position_snapshots \
                 (portfolio_id, security_id, date, epoch, quantity) WHERE (date = '{date}') \
                 WITH (publish = 'insert, update')"
            ),
            format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput', true)"),
        ] {
            let ran = connection.execute(AssertSqlSafe(sql.clone())).await;
            ran.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        Self { connection, name, at: 0 }
    }

    /// Snapshots that were committed since the last poll.
    pub(super) async fn poll(&mut self) -> Vec<Seen> {
        let text = "SELECT data FROM pg_logical_slot_get_binary_changes($1::name, NULL, NULL, \
                    'proto_version', '1', 'publication_names', $1)";
        let rows = sqlx::query(text).bind(&self.name).fetch_all(&mut self.connection).await;
        let rows = rows.expect("the server keeps wal_level = logical");
        rows.iter().filter_map(|row| self.read(row.get(0))).collect()
    }

    /// Ends the watch.
    pub(super) async fn end(mut self) {
        let name = &self.name;
        for sql in [
            format!("SELECT pg_drop_replication_slot('{name}')"),
            format!("DROP PUBLICATION {name}"),
        ] {
            let ran = self.connection.execute(AssertSqlSafe(sql.clone())).await;
            ran.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }

    fn read(&mut self, message: &[u8]) -> Option<Seen> {
        match message.first()? {
            // The place of the commit stands before its time.
            b'B' => {
                let at = message.get(9..17)?.try_into().expect("eight bytes");
                self.at = i64::from_be_bytes(at) + TO_2000;
                None
            }
            // The number of the table stands before the new row. Keys never change, so an update
            // has no old row.
            b'I' | b'U' => {
                assert_eq!(message.get(5), Some(&b'N'), "a snapshot keeps its key");
                let cells = cells(message.get(6..)?)?;
                let [portfolio, security, _, _, quantity] = cells.as_slice() else { return None };
                let quantity = quantity.parse::<f64>().expect("a quantity is a number") as usize;
                let key = (portfolio.clone(), security.clone());
                Some(Seen { key, quantity, at: self.at })
            }
            _ => None,
        }
    }
}

/// The cells of a row, all of which have texts.
fn cells(tuple: &[u8]) -> Option<Vec<String>> {
    let (count, mut rest) = tuple.split_first_chunk::<2>()?;
    let mut cells = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (kind, behind) = rest.split_first()?;
        assert_eq!(*kind, b't', "keys and quantities are there");
        let (length, behind) = behind.split_first_chunk::<4>()?;
        let (text, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        cells.push(String::from_utf8(text.to_vec()).expect("the server speaks UTF-8"));
        rest = behind;
    }
    Some(cells)
}
