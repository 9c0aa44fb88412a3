//! Claims about what becomes of the messages of logical decoding.

use backdate_reports::recording::Row;

use super::*;

fn text(value: &str) -> Vec<u8> {
    let length = u32::try_from(value.len()).expect("short");
    [&b"t"[..], &length.to_be_bytes(), value.as_bytes()].concat()
}

fn tuple(cells: &[Option<&str>]) -> Vec<u8> {
    let count = u16::try_from(cells.len()).expect("few").to_be_bytes().to_vec();
    let cells = cells.iter().map(|cell| cell.map_or(b"n".to_vec(), text));
    cells.fold(count, |all, cell| [all, cell].concat())
}

fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[kind][..], &parts.concat()].concat()
}

fn relation(id: u32, name: &str, columns: &[&str]) -> Vec<u8> {
    let count = u16::try_from(columns.len()).expect("few").to_be_bytes();
    let columns = columns.iter().map(|column| {
        [&[0_u8][..], column.as_bytes(), &[0], &25_u32.to_be_bytes(), &[0xFF; 4]].concat()
    });
    let columns = columns.collect::<Vec<_>>().concat();
    let head = [&id.to_be_bytes()[..], b"schema\0", name.as_bytes(), b"\0f", &count].concat();
    message(b'R', &[&head, &columns])
}

fn begin(lsn: u64) -> Vec<u8> {
    message(b'B', &[&lsn.to_be_bytes(), &7_000_000_i64.to_be_bytes(), &[0; 4]])
}

fn end() -> Vec<u8> {
    message(b'C', &[&[0; 25]])
}

fn insert(id: u32, cells: &[Option<&str>]) -> Vec<u8> {
    message(b'I', &[&id.to_be_bytes(), b"N", &tuple(cells)])
}

fn delete(id: u32, cells: &[Option<&str>]) -> Vec<u8> {
    message(b'D', &[&id.to_be_bytes(), b"O", &tuple(cells)])
}

const DATE: [Option<&str>; 2] = [Some("2025-01-02"), Some("GLOBAL")];
const OTHER: [Option<&str>; 2] = [Some("2025-01-03"), Some("GLOBAL")];

/// Takes messages after a relation whose columns stand in another order than expected.
fn decoded(decoder: &mut Decoder, messages: &[Vec<u8>]) -> Vec<Commit> {
    let relation = relation(9, "business_dates", &["business_date", "calendar_code"]);
    let all = std::iter::once(&relation).chain(messages);
    all.filter_map(|bytes| decoder.take(bytes).expect("well formed")).collect()
}

fn dates(commit: &Commit) -> Vec<(String, bool)> {
    let date = |change: &Change| match &change.row {
        Row::BusinessDate(row) => (row.business_date.to_string(), change.deleted),
        other => panic!("{other:?}"),
    };
    commit.changes.iter().map(date).collect()
}

#[test]
fn a_transaction_has_one_entry_a_row_its_last_write() {
    let mut decoder = Decoder::default();
    let messages =
        [begin(1), delete(9, &DATE), insert(9, &OTHER), insert(9, &DATE), delete(9, &OTHER), end()];
    let commits = decoded(&mut decoder, &messages);
    assert_eq!(commits.len(), 1);
    assert_eq!(commits[0].at, TO_2000 + 7_000_000);
    // What was deleted and written again is there; what it made and deleted was never there.
    assert_eq!(dates(&commits[0]), [("2025-01-02".to_owned(), false)]);
}

#[test]
fn a_transaction_that_comes_again_after_a_crash_is_passed_over() {
    let mut decoder = Decoder::default();
    let messages = [begin(5), insert(9, &DATE), end()];
    assert_eq!(decoded(&mut decoder, &messages).len(), 1);
    assert_eq!(decoded(&mut decoder, &messages).len(), 0);
    assert_eq!(decoded(&mut decoder, &[begin(6), delete(9, &DATE), end()]).len(), 1);
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_it() {
    let mut decoder = Decoder::default();
    decoded(&mut decoder, &[begin(1)]);
    let wrong = insert(9, &[Some("yesterday"), Some("GLOBAL")]);
    let error = decoder.take(&wrong).expect_err("no date");
    assert!(error.contains("business_dates") && error.contains("yesterday"), "{error}");
    let missing = relation(8, "instruments", &["security_id"]);
    let error = decoder.take(&missing).expect_err("columns are missing");
    assert!(error.contains("instruments has no column currency"), "{error}");
    let keys_only = message(b'D', &[&9_u32.to_be_bytes(), b"K", &tuple(&DATE)]);
    assert!(decoder.take(&keys_only).expect_err("a key alone").contains("REPLICA IDENTITY FULL"));
    assert!(decoder.take(b"I\0").expect_err("cut off").contains("cut off"));
}
