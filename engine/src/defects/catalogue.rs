//! The catalogue: every defect with its name, what the mistake is, and what would mask it.
//!
//! A defect that another protection covers as well is planted together with its mask: `with` names
//! what is taken out besides.

/// Declares defects.
macro_rules! catalogue {
    ($($name:ident = $text:literal $(with $($mask:ident),+)?, $about:literal;)+) => {
        /// A mistake that can be put back.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Defect { $(#[doc = $about] $name),+ }

        #[cfg(feature = "defects")]
        impl Defect {
            /// All of them.
            pub const ALL: &[Defect] = &[$(Defect::$name),+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Defect::$name => $text),+ }
            }

            /// What the mistake is.
            pub const fn about(self) -> &'static str {
                match self { $(Defect::$name => $about),+ }
            }

            /// What is taken out with it, because it would mask it.
            pub const fn masks(self) -> &'static [Defect] {
                match self { $(Defect::$name => &[$($(Defect::$mask),+)?]),+ }
            }
        }
    };
}

catalogue! {
    // Watermarks, status, epochs.
    AdvanceByKeyOnly = "advance-by-key-only",
        "a watermark is advanced by key only, whatever the token has become meanwhile";
    AdvanceComparesEpochOnly = "advance-compares-epoch-only",
        "advancing compares the epoch and not the revision: a price's reset is overwritten";
    GapCountsOlderRevisions = "gap-counts-older-revisions",
        "snapshots of an older revision count as complete";
    GapIgnored = "gap-ignored" with ClaimsNewestFirst,
        "the last date's snapshot moves the watermark over a gap before it";
    CurrentBeforeWatermark = "current-before-watermark",
        "CURRENT is set while the watermark is behind the latest business date";
    CurrentDuringReplay = "current-during-replay",
        "watermark, CURRENT and served epoch move while a replay is open";
    KeysWithoutHistoryStayDue = "keys-without-history-stay-due",
        "a key with no history never leaves the list of lagging keys";
    ServedEpochLeftBehind = "served-epoch-left-behind",
        "CURRENT is set and the served epoch is not switched with it";
    ServedEpochTooEarly = "served-epoch-too-early",
        "a new epoch is served from its first moment";
    PrunedTooEarly = "pruned-too-early",
        "rows of the served epoch are deleted when the replay ends, before the switch";
    ResetRaisesWatermark = "reset-raises-watermark",
        "a reset sets the watermark to the day before even where it was earlier";
    ResetKeepsRevision = "reset-keeps-revision",
        "an invalidation lowers the watermark and keeps the revision";
    BumpUsesCachedEpoch = "bump-uses-cached-epoch",
        "a bump during a replay leaves the replay under the older epoch, which nobody reads";
    // Jobs and triggers.
    JobsDuringReplay = "jobs-during-replay",
        "valuation jobs are created while a replay of the key is open";
    OpenJobsIgnored = "open-jobs-ignored",
        "a key that a job holds is given another job";
    SecondSchedulerRepeatsJobs = "second-scheduler-repeats-jobs",
        "whether a job is open is looked at before the lock, not under it";
    JobsCoverValuedDates = "jobs-cover-valued-dates",
        "a job reaches over dates that are valued already";
    ClaimsWithoutSkipLocked = "claims-without-skip-locked",
        "two schedulers claim the same jobs: no lock, no second look";
    LiveLeasesIgnored = "live-leases-ignored",
        "a job is claimed again while its lease runs";
    LeaseNeverEnds = "lease-never-ends" with ClaimDispatchedApart,
        "the lease of a claimed job never ends";
    ClaimDispatchedApart = "claim-dispatched-apart" with LeaseNeverEnds,
        "a claim is committed before its message is in the outbox";
    SupersededJobsClaimed = "superseded-jobs-claimed",
        "jobs whose keys have all moved on are claimed and sent one by one, before fresh ones";
    ClaimsNewestFirst = "claims-newest-first",
        "jobs are claimed last in, first out";
    ClaimsByPortfolio = "claims-by-portfolio",
        "jobs are claimed in the order of portfolios: an early one starves the others";
    TriggerHandedOnApart = "trigger-handed-on-apart",
        "a trigger is deleted by one transaction and its job is written by the next";
    TriggerDeletedBySubject = "trigger-deleted-by-subject",
        "a trigger is deleted by subject only: an earlier date written meanwhile is lost";
    TriggerTakesLastDate = "trigger-takes-last-date",
        "a trigger keeps the date that was written last, not the earliest";
    LatestDatePriceIgnored = "latest-date-price-ignored",
        "a price for the latest business date itself triggers nothing";
    RatesIgnored = "rates-ignored",
        "rates trigger nothing";
    CalendarTriggerForgotten = "calendar-trigger-forgotten",
        "a business date that comes late triggers nothing";
    PortfolioTriggerForgotten = "portfolio-trigger-forgotten",
        "a portfolio that comes late triggers nothing";
    CurrencyTriggerForgotten = "currency-trigger-forgotten",
        "an instrument that changes its currency triggers nothing";
    FanoutSkipsLockedKeys = "fanout-skips-locked-keys",
        "the fan-out leaves out keys that somebody holds";
    FanoutEndsAfterOneBatch = "fanout-ends-after-one-batch",
        "the fan-out is done after its first batch";
    FanoutDoesNotLock = "fanout-does-not-lock",
        "the fan-out reads keys without a lock and writes them later";
    FanoutMovesCursorFirst = "fanout-moves-cursor-first",
        "the cursor of a fan-out is committed before its batch is visited";
    FanoutScansValuedKeysOnly = "fanout-scans-valued-keys-only",
        "the scan filters: a key that is valued between scan and reset is missed";
    BackdatedPriceStrict = "backdated-price-strict",
        "a price is back-dated only if it is before the last valued date, not on it";
    RateKeepsCosts = "rate-keeps-costs",
        "a changed rate changes values and no costs";
    RateRebuildKeepsWatermark = "rate-rebuild-keeps-watermark",
        "where a rate changes costs, values between its date and the trade stay";
    PairScanDirectOnly = "pair-scan-direct-only",
        "a rate is news only for keys that use the pair itself, not for crosses over EUR";
    JobMergedIntoRunning = "job-merged-into-running",
        "a trigger is merged into a fan-out that runs and has passed some keys";
    LateFinisherCompletesRearmed = "late-finisher-completes-rearmed-job",
        "a fan-out is armed again while it runs, and its late finisher completes it";
    // Timeline, history and cost.
    CalculatorDoesNotLock = "calculator-does-not-lock",
        "the fence reads the token without a lock and writes later without comparing";
    LateTradeKeepsToken = "late-trade-keeps-token",
        "a late trade at the end of the timeline is appended without a new revision";
    BackdatedTradeStrict = "backdated-trade-strict",
        "a trade is back-dated only if it is before the last valued date, not on it";
    RewindIgnored = "rewind-ignored",
        "a trade behind the cursor of an open replay does not rewind it";
    RewindKeepsHistory = "rewind-keeps-history",
        "a rewind leaves the rows behind the new cursor";
    RewindKeepsLots = "rewind-keeps-lots",
        "a rewind folds on top of the lots that are there";
    RewindKeepsFromDate = "rewind-keeps-from-date",
        "a rewind does not lower the first date of its epoch";
    AppendKeepsCounter = "append-keeps-counter",
        "an append raises neither the token nor the counter";
    LiveTradeFoldedDuringReplay = "live-trade-folded-during-replay",
        "a live trade is folded into the new epoch before its predecessors";
    BackdatedBuyKeepsLaterSells = "backdated-buy-keeps-later-sells",
        "a back-dated buy does not recompute later sells";
    AmendmentDropped = "amendment-dropped",
        "the calculator drops an amendment, because it knows the transaction";
    EarlySellRejected = "early-sell-rejected",
        "a sell that precedes its buy is rejected for good";
    IdempotencyByOffset = "idempotency-by-offset" with HistoryUpserted,
        "a transaction that is published again is applied again";
    HistoryUpserted = "history-upserted" with IdempotencyByOffset,
        "history rows are upserted: a second effect meets no conflict";
    ReplayRepeatsTrigger = "replay-repeats-trigger",
        "a replay includes the triggering transaction twice";
    ReplayerDoesNotLock = "replayer-does-not-lock",
        "two replayers continue the same cursor, and trades move it meanwhile";
    CursorMovesApart = "cursor-moves-apart",
        "a chunk's rows are committed before its cursor";
    SellsBeforeBuysOfInstant = "sells-before-buys-of-instant",
        "trades of one instant are replayed by name, not in the total order";
    // Valuation.
    ValuationDoesNotFence = "valuation-does-not-fence",
        "a valuation job is done whatever the key's token has become";
    ValuationWritesJobsToken = "valuation-writes-jobs-token",
        "snapshots are written under the job's token, compared with nothing";
    NewerEpochApplied = "newer-epoch-applied",
        "a message of a newer epoch than the key's is applied";
    ValuationReadsBeforeLock = "valuation-reads-before-lock",
        "a valuation reads its inputs before it locks the key";
    JobRowNotChecked = "job-row-not-checked",
        "a valuation job is done again although its row is gone";
    ValuedThroughNotRaised = "valued-through-not-raised",
        "snapshots are written and the last valued date is not noted";
    StaleMessageDeadLettered = "stale-message-dead-lettered",
        "a stale message goes to the dead letters";
    KeysLockedInArrivalOrder = "keys-locked-in-arrival-order",
        "a batch locks its keys in the order of arrival";
    // Messaging.
    OffsetBeforeEffect = "offset-before-effect",
        "offsets are committed before the effect";
    FailedBatchSkipped = "failed-batch-skipped",
        "a batch that fails is skipped, and the next commit covers it";
    PausedPartitionNeverResumed = "paused-partition-never-resumed",
        "a partition that waits after a failure waits for ever";
    UnknownCommitTakenForDone = "unknown-commit-taken-for-done",
        "a commit whose outcome is unknown counts as done";
    DeadLetterForgotten = "dead-letter-forgotten",
        "poison is skipped without a dead letter";
    PoisonStopsPartition = "poison-stops-partition",
        "poison fails its batch again and again";
    NewsCommittedApart = "news-committed-apart",
        "what persistence has stored is committed before the news of it";
    KeyCreatedApart = "key-created-apart",
        "a key is created after its first transaction has been committed";
    LowerVersionWins = "lower-version-wins",
        "a lower version of an input replaces a higher one";
    KeyChangeAccepted = "key-change-accepted",
        "an amendment may move a transaction to another portfolio";
    KnownTransactionDropped = "known-transaction-dropped",
        "an amendment with a known transaction id is dropped as a duplicate";
    OutboxRowsClaimedSingly = "outbox-rows-claimed-singly",
        "two dispatchers publish the events of one key side by side";
    OutboxDeletedBeforeSend = "outbox-deleted-before-send",
        "events are deleted before the broker has acknowledged them";
    ZombieCommitAccepted = "zombie-commit-accepted",
        "a zombie consumer's commit is accepted after a rebalance";
    // Cash flows and time series.
    CashflowSurvivesRewind = "cash-flow-survives-rewind",
        "a rewind of a replay leaves the cash flows of the history that it takes back";
    CashflowWithoutLock = "cash-flow-without-lock",
        "cash flows are written without the lock of their key";
    PortfolioMixesEpochs = "portfolio-mixes-epochs",
        "a portfolio's value mixes keys of the served epoch and of one that is not complete";
    NextBeginningKept = "next-beginning-kept",
        "a changed snapshot leaves the next day's beginning as it was";
    LateFlowForgotten = "late-flow-forgotten",
        "a cash flow that comes after its snapshot does not bring the series up to date";
    SwitchNotAnnounced = "switch-not-announced",
        "portfolios are not summed up again when a key's new epoch is served";
    AggregationForgotten = "aggregation-forgotten",
        "a position's series is written and its portfolio is not summed up again";
    // Reads.
    ReadMixesEpochs = "read-mixes-epochs",
        "a read takes the newest snapshot of any epoch";
    ReadHidesReprocessing = "read-hides-reprocessing",
        "a position disappears while its key is REPROCESSING";
    ReadJoinsNewEpoch = "read-joins-new-epoch",
        "a read joins the new epoch before it is complete";
}

#[cfg(feature = "defects")]
impl Defect {
    /// The one with that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|defect| defect.name() == text)
    }
}
