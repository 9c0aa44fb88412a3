//! Market data: real series of prices, rates and business dates, and the window that a run uses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use backdate_engine::domain::money::Amount;
use backdate_engine::domain::time::{Date, Timestamp};
use smol_str::SmolStr;

use crate::scenario::format::workload::Data;

/// Days before the window from which prices and rates are still taken: look-ups go back to the
/// latest one, and central banks close for up to five days.
const LEAD_DAYS: i32 = 7;
/// Time of day of the last business date at which a run begins: 18:00 UTC.
const EVENING_MICROS: i64 = 18 * 3_600_000_000;

/// A series of a security.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotes {
    /// Currency of the prices.
    pub currency: SmolStr,
    /// Price by date.
    pub prices: BTreeMap<Date, Amount>,
}

/// A pair as quoted: from, to.
pub type Pair = (SmolStr, SmolStr);

/// The data of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Market {
    /// The files that were read: prices, rates, business dates.
    pub files: [PathBuf; 3],
    /// Business dates of the window, in order; never empty.
    pub dates: Vec<Date>,
    /// Business dates after the window.
    pub following: Vec<Date>,
    /// Series by security, whole.
    pub quotes: BTreeMap<SmolStr, Quotes>,
    /// Series by pair, whole.
    pub rates: BTreeMap<Pair, BTreeMap<Date, Amount>>,
}

/// A field of `[workload.data]` and what is wrong with it.
pub type DataProblem = (&'static str, String);

impl Market {
    /// Reads the files of a scenario that stands in that folder.
    pub fn read(data: &Data, folder: &Path) -> Result<Self, DataProblem> {
        let prices = find("prices", &data.prices, folder)?;
        let rates = find("rates", &data.rates, folder)?;
        let business_dates = find("business_dates", &data.business_dates, folder)?;
        let (dates, following) = window(data, &business_dates)?;
        Ok(Self {
            dates,
            following,
            quotes: read_quotes(&prices).map_err(|why| ("prices", why))?,
            rates: read_rates(&rates).map_err(|why| ("rates", why))?,
            files: [prices, rates, business_dates],
        })
    }

    /// Puts the files that were read into a workload, so that a plan finds them from anywhere.
    pub fn name_files(&self, data: &mut Data) {
        let [prices, rates, business_dates] =
            self.files.each_ref().map(|path| path.display().to_string());
        (data.prices, data.rates, data.business_dates) = (prices, rates, business_dates);
    }

    /// The last date of the window: the day on which the run takes place.
    pub fn today(&self) -> Date {
        *self.dates.last().expect("a window holds at least one date")
    }

    /// The business date that many business days before today; the first one, if it is too far.
    pub fn back(&self, business_days: u32) -> Date {
        let last = self.dates.len() - 1;
        self.dates[last.saturating_sub(business_days as usize)]
    }

    /// First date from which prices and rates are loaded.
    pub fn first_quote(&self) -> Date {
        Date::from_days(self.dates[0].days() - LEAD_DAYS)
    }

    /// The wall clock at the start of a run.
    pub fn evening(&self) -> Timestamp {
        Timestamp::from_micros(self.today().start().micros() + EVENING_MICROS)
    }
}

/// The latest value on or before a date.
pub fn latest(series: &BTreeMap<Date, Amount>, date: Date) -> Option<(Date, Amount)> {
    series.range(..=date).next_back().map(|(date, value)| (*date, *value))
}

/// A data file: beside the scenario, or from the root of the project.
fn find(field: &'static str, name: &str, folder: &Path) -> Result<PathBuf, DataProblem> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let places = [folder.join(name), PathBuf::from(name), root.join(name)];
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let cure = "paths are relative to the scenario file or to the root of the project";
        (field, format!("= {name:?}: no such file: {cure}"))
    })
}

fn window(data: &Data, path: &Path) -> Result<(Vec<Date>, Vec<Date>), DataProblem> {
    let from = Date::parse(&data.from).ok_or_else(|| {
        ("from", format!("= {:?}: must be a date YYYY-MM-DD", data.from.as_str()))
    })?;
    let mut all = BTreeSet::new();
    for_rows(path, ["business_date"], |[date]| {
        all.insert(parse_date(date)?);
        Ok(())
    })
    .map_err(|why| ("business_dates", why))?;
    let mut dates: Vec<Date> = all.range(from..).copied().collect();
    let wanted = data.business_days as usize;
    if wanted == 0 {
        return Err(("business_days", "= 0: must be at least 1".into()));
    }
    if dates.len() < wanted {
        let there = dates.len();
        let why = format!("= {wanted}: from {from} on, {} has only {there}", path.display());
        return Err(("business_days", why));
    }
    let following = dates.split_off(wanted);
    Ok((dates, following))
}

fn read_quotes(path: &Path) -> Result<BTreeMap<SmolStr, Quotes>, String> {
    let mut quotes: BTreeMap<SmolStr, Quotes> = BTreeMap::new();
    let columns = ["security_id", "price_date", "price", "currency"];
    for_rows(path, columns, |[security, date, price, currency]| {
        let (date, price) = (parse_date(date)?, parse_amount(price)?);
        if price.is_negative() {
            return Err(format!("price {price} is negative: prices must be at least 0"));
        }
        let series = quotes.entry(SmolStr::new(security)).or_default();
        series.currency = SmolStr::new(currency);
        series.prices.insert(date, price);
        Ok(())
    })?;
    Ok(quotes)
}

fn read_rates(path: &Path) -> Result<BTreeMap<Pair, BTreeMap<Date, Amount>>, String> {
    let mut rates: BTreeMap<Pair, BTreeMap<Date, Amount>> = BTreeMap::new();
    let columns = ["from_currency", "to_currency", "rate_date", "rate"];
    for_rows(path, columns, |[from, to, date, rate]| {
        let (date, rate) = (parse_date(date)?, parse_amount(rate)?);
        if rate <= Amount::ZERO {
            return Err(format!("rate {rate}: rates must be above 0"));
        }
        let pair = (SmolStr::new(from), SmolStr::new(to));
        rates.entry(pair).or_default().insert(date, rate);
        Ok(())
    })?;
    Ok(rates)
}

fn for_rows<const N: usize>(
    path: &Path,
    columns: [&str; N],
    mut row: impl FnMut([&str; N]) -> Result<(), String>,
) -> Result<(), String> {
    let at = |line: u64, why: String| format!("{}:{line}: {why}", path.display());
    let mut reader = csv::Reader::from_path(path).map_err(|why| at(1, why.to_string()))?;
    let header = reader.headers().map_err(|why| at(1, why.to_string()))?.clone();
    let mut places = [0; N];
    for (place, column) in places.iter_mut().zip(columns) {
        *place = header
            .iter()
            .position(|name| name == column)
            .ok_or_else(|| at(1, format!("has no column {column}")))?;
    }
    for record in reader.records() {
        let record = record.map_err(|why| format!("{}: {why}", path.display()))?;
        let line = record.position().map_or(1, csv::Position::line);
        row(places.map(|place| &record[place])).map_err(|why| at(line, why))?;
    }
    Ok(())
}

fn parse_date(text: &str) -> Result<Date, String> {
    Date::parse(text).ok_or_else(|| format!("{text:?} is no date YYYY-MM-DD"))
}

fn parse_amount(text: &str) -> Result<Amount, String> {
    Amount::parse(text).map_err(|why| format!("{text:?} is {why}"))
}
