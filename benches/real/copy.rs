//! The ceiling: a plain binary COPY of the rows that the engine has written, into a table with the
//! same columns and indexes.
//!
//! The engine stands still meanwhile, and its rows have been read before.

use std::time::Instant;

use backdate_engine::adapters::kafka::Client;
use backdate_engine::adapters::postgres::config::PostgresConfig;
use backdate_engine::domain::intake;
use backdate_engine::ports::log::{Log, LogConsumer, Topic};
use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row};

use super::engine::Engine;
use super::{Taken, now};

/// Bytes of one COPY message.
const CHUNK: usize = 1 << 16;

/// The late trade comes before all others, so the newest epoch of a key is rebuilt from its start.
const REBUILT: &str = "(SELECT h.* FROM position_history h \
                       JOIN position_state USING (portfolio_id, security_id, epoch)) rebuilt";

/// How sessions in the schema are opened.
pub(super) fn options(config: &PostgresConfig) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host(&config.host)
        .port(config.port)
        .username(&config.user)
        .password(config.password.reveal())
        .database(&config.database)
        .options([("search_path", config.schema.as_str())])
        .disable_statement_logging()
}

/// A session in the schema.
pub(super) async fn connect(config: &PostgresConfig) -> PgConnection {
    options(config).connect().await.expect("the database is there")
}

/// A connection beside the engine's own.
pub(super) struct Baseline {
    connection: PgConnection,
}

impl Baseline {
    /// Connects to the schema.
    pub(super) async fn connect(config: &PostgresConfig) -> Self {
        Self { connection: connect(config).await }
    }

    /// Copies all snapshots but those of the first date, which were there before.
    pub(super) async fn copy_snapshots(&mut self, engine: &Engine) -> Taken {
        let rows = "daily_position_snapshots WHERE date > \
                    (SELECT min(date) FROM daily_position_snapshots)";
        let rows = self.read(rows, "portfolio_id, security_id, date").await;
        self.beside(engine, async |this| this.copy("daily_position_snapshots", &rows).await).await
    }

    /// Copies the series of positions and portfolios, but those rows of the first date.
    pub(super) async fn copy_series(&mut self, engine: &Engine) -> Taken {
        let later = "date > (SELECT min(date) FROM portfolio_timeseries)";
        let of_keys = format!("position_timeseries WHERE {later}");
        let of_keys = self.read(&of_keys, "portfolio_id, security_id, date").await;
        let sums = format!("portfolio_timeseries WHERE {later}");
        let sums = self.read(&sums, "portfolio_id, date").await;
        self.beside(engine, async |this| {
            let of_keys = this.copy("position_timeseries", &of_keys).await;
            let sums = this.copy("portfolio_timeseries", &sums).await;
            let seconds = of_keys.seconds + sums.seconds;
            Taken { seconds, all_seconds: seconds, ..of_keys }
        })
        .await
    }

    /// Copies the history that a rebuild has made.
    pub(super) async fn copy_history(&mut self, engine: &Engine) -> Taken {
        let rows = self.read(REBUILT, "portfolio_id, security_id").await;
        self.beside(engine, async |this| this.copy("position_history", &rows).await).await
    }

    /// Rows that a rebuild has made.
    pub(super) async fn rebuilt(&mut self) -> u64 {
        self.count(REBUILT).await
    }

    /// Consumes all transactions from their topic, reads them, and copies their rows.
    pub(super) async fn consume_and_copy(&mut self, engine: &Engine) -> Taken {
        let rows = self.read("transactions", "transaction_id").await;
        self.beside(engine, async |this| {
            let consuming = this.consume(engine).await;
            let copy = this.copy("transactions", &rows).await;
            let seconds = consuming + copy.seconds;
            Taken { seconds, all_seconds: seconds, ..copy }
        })
        .await
    }

    /// Seconds that the adapter takes to consume and to read all transactions.
    async fn consume(&mut self, engine: &Engine) -> f64 {
        let log = Client::new(&engine.services().kafka, "bench-copy");
        let consumer = log.consumer("bench-copy", &[Topic::RawTransactions]).await;
        let mut consumer = consumer.expect("the broker is there");
        let expected = self.count("transactions").await;
        let mut consumed = 0;
        let mut begun: Option<Instant> = None;
        while consumed < expected {
            let records = consumer.poll(2_000).await.expect("the broker is there");
            // The time that a member needs to join a group is nobody's rate.
            begun = begun.or_else(|| (!records.is_empty()).then(now));
            for record in &records {
                intake::transaction(&record.value).expect("the load has no poison");
                consumed += 1;
            }
        }
        let consuming = (now() - begun.expect("there are transactions")).as_secs_f64();
        consumer.close().await;
        consuming
    }

    /// Measures while the engine stands still.
    async fn beside<T>(
        &mut self,
        engine: &Engine,
        measured: impl AsyncFnOnce(&mut Self) -> T,
    ) -> T {
        engine.pause();
        let answer = measured(self).await;
        engine.resume();
        answer
    }

    /// Rows of a table.
    pub(super) async fn count(&mut self, table: &str) -> u64 {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let row = sqlx::query(sql).fetch_one(&mut self.connection).await;
        let count: i64 = row.expect("the database is there").get(0);
        u64::try_from(count).expect("counts are not negative")
    }

    /// Writes everything out, so that no measured part pays for what came before.
    pub(super) async fn checkpoint(&mut self) {
        self.run("CHECKPOINT".to_owned()).await;
    }

    /// Does for all tables what the server does once a minute by itself, so that it need not do it
    /// while something is measured.
    pub(super) async fn tidy(&mut self) {
        self.run("VACUUM ANALYZE".to_owned()).await;
        self.checkpoint().await;
    }

    async fn run(&mut self, sql: String) {
        let ran = self.connection.execute(AssertSqlSafe(sql.clone())).await;
        ran.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Rows as COPY writes them.
    async fn read(&mut self, rows: &str, order: &str) -> Vec<u8> {
        let out = format!("COPY (SELECT * FROM {rows} ORDER BY {order}) TO STDOUT (FORMAT binary)");
        let stream = self.connection.copy_out_raw(&out).await.expect("the table can be read");
        let chunks: Vec<_> = stream.try_collect().await.expect("the table can be read");
        chunks.concat()
    }

    /// Copies rows into an empty table that is as that one is.
    async fn copy(&mut self, table: &str, rows: &[u8]) -> Taken {
        self.run(format!("CREATE TABLE copied (LIKE {table} INCLUDING ALL)")).await;
        self.checkpoint().await;
        let begun = now();
        let sql = "COPY copied FROM STDIN (FORMAT binary)";
        let mut copy = self.connection.copy_in_raw(sql).await.expect("the table can be written");
        for chunk in rows.chunks(CHUNK) {
            copy.send(chunk).await.expect("the table can be written");
        }
        let copied = copy.finish().await.expect("the table can be written");
        let seconds = (now() - begun).as_secs_f64();
        self.run("DROP TABLE copied".to_owned()).await;
        Taken { count: copied as f64, seconds, all_seconds: seconds, statements: 1.0 }
    }
}
