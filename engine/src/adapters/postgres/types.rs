//! How the domain's types are written and read in PostgreSQL's binary form.
//!
//! # Invariants
//! - A value that its column cannot hold (a number of 64 unsigned bits, a date beyond the calendar)
//!   is an error when it is encoded, never another value.

use smol_str::SmolStr;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

use super::numeric;
use crate::domain::ids::{Currency, Epoch, PortfolioId, Revision, SecurityId, TransactionId};
use crate::domain::money::Amount;
use crate::domain::time::{Date, Timestamp};

/// Days from 1970-01-01 to 2000-01-01, from where the server counts.
const DAYS_TO_2000: i32 = 10_957;
const MICROS_TO_2000: i64 = 946_684_800_000_000;

/// Days since 2000-01-01.
pub(super) fn date_bytes(date: Date) -> Result<[u8; 4], BoxDynError> {
    let days = date.days().checked_sub(DAYS_TO_2000);
    Ok(days.ok_or("a date beyond the calendar")?.to_be_bytes())
}

/// Microseconds since 2000-01-01.
pub(super) fn instant_bytes(instant: Timestamp) -> Result<[u8; 8], BoxDynError> {
    let micros = instant.micros().checked_sub(MICROS_TO_2000);
    Ok(micros.ok_or("an instant beyond the calendar")?.to_be_bytes())
}

/// A number of 64 bits in a `bigint`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Big(pub(super) u64);

/// A number of 32 bits in an `integer`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Small(pub(super) u32);

/// A whole number in a `numeric`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole(pub(super) i128);

/// A text that has no type of its own.
#[derive(Clone, Debug)]
pub(super) struct Text(pub(super) SmolStr);

macro_rules! sql_type {
    ($($name:ty: $oid:literal, array $array:literal;)+) => {$(
        impl Type<Postgres> for $name {
            fn type_info() -> PgTypeInfo {
                PgTypeInfo::with_oid(Oid($oid))
            }

            fn compatible(info: &PgTypeInfo) -> bool {
                info.oid() == Some(Oid($oid))
            }
        }

        impl PgHasArrayType for $name {
            fn array_type_info() -> PgTypeInfo {
                PgTypeInfo::with_oid(Oid($array))
            }

            fn array_compatible(info: &PgTypeInfo) -> bool {
                info.oid() == Some(Oid($array))
            }
        }
    )+};
}

// The numbers of the built-in types are fixed for ever (`pg_type.dat`).
sql_type! {
    Date: 1082, array 1182;
    Timestamp: 1184, array 1185;
    Amount: 1700, array 1231;
    Whole: 1700, array 1231;
    Big: 20, array 1016;
    Revision: 20, array 1016;
    Small: 23, array 1007;
    Epoch: 23, array 1007;
    PortfolioId: 25, array 1009;
    SecurityId: 25, array 1009;
    TransactionId: 25, array 1009;
    Currency: 25, array 1009;
    Text: 25, array 1009;
}

macro_rules! encoded {
    ($($name:ty = $bytes:expr;)+) => {$(
        impl Encode<'_, Postgres> for $name {
            fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                let encode: fn(&$name, &mut Vec<u8>) -> Result<(), BoxDynError> = $bytes;
                encode(self, buffer)?;
                Ok(IsNull::No)
            }
        }
    )+};
}

encoded! {
    Date = |date, buffer| {
        buffer.extend_from_slice(&date_bytes(*date)?);
        Ok(())
    };
    Timestamp = |instant, buffer| {
        buffer.extend_from_slice(&instant_bytes(*instant)?);
        Ok(())
    };
    Amount = |amount, buffer| {
        numeric::encode_amount(amount.raw(), buffer);
        Ok(())
    };
    Whole = |number, buffer| {
        numeric::encode_whole(number.0, buffer);
        Ok(())
    };
    Big = |number, buffer| {
        buffer.extend_from_slice(&i64::try_from(number.0)?.to_be_bytes());
        Ok(())
    };
    Revision = |revision, buffer| {
        buffer.extend_from_slice(&i64::try_from(revision.0)?.to_be_bytes());
        Ok(())
    };
    Small = |number, buffer| {
        buffer.extend_from_slice(&i32::try_from(number.0)?.to_be_bytes());
        Ok(())
    };
    Epoch = |epoch, buffer| {
        buffer.extend_from_slice(&i32::try_from(epoch.0)?.to_be_bytes());
        Ok(())
    };
    PortfolioId = |id, buffer| {
        buffer.extend_from_slice(id.as_str().as_bytes());
        Ok(())
    };
    SecurityId = |id, buffer| {
        buffer.extend_from_slice(id.as_str().as_bytes());
        Ok(())
    };
    TransactionId = |id, buffer| {
        buffer.extend_from_slice(id.as_str().as_bytes());
        Ok(())
    };
    Currency = |code, buffer| {
        buffer.extend_from_slice(code.as_str().as_bytes());
        Ok(())
    };
}

macro_rules! decoded {
    ($($name:ty = $value:expr;)+) => {$(
        impl Decode<'_, Postgres> for $name {
            fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
                let decode: fn(&[u8]) -> Result<$name, BoxDynError> = $value;
                decode(value.as_bytes()?)
            }
        }
    )+};
}

decoded! {
    Date = |bytes| {
        let days = i32::from_be_bytes(bytes.try_into()?).checked_add(DAYS_TO_2000);
        Ok(Date::from_days(days.ok_or("an infinite date")?))
    };
    Timestamp = |bytes| {
        let micros = i64::from_be_bytes(bytes.try_into()?).checked_add(MICROS_TO_2000);
        Ok(Timestamp::from_micros(micros.ok_or("an infinite instant")?))
    };
    Amount = |bytes| Ok(Amount::from_raw(numeric::decode(bytes, numeric::AMOUNT_DECIMALS)?));
    Whole = |bytes| Ok(Whole(numeric::decode(bytes, 0)?));
    Big = |bytes| Ok(Big(u64::try_from(i64::from_be_bytes(bytes.try_into()?))?));
    Revision = |bytes| Ok(Revision(u64::try_from(i64::from_be_bytes(bytes.try_into()?))?));
    Small = |bytes| Ok(Small(u32::try_from(i32::from_be_bytes(bytes.try_into()?))?));
    Epoch = |bytes| Ok(Epoch(u32::try_from(i32::from_be_bytes(bytes.try_into()?))?));
    PortfolioId = |bytes| Ok(PortfolioId::new(std::str::from_utf8(bytes)?));
    SecurityId = |bytes| Ok(SecurityId::new(std::str::from_utf8(bytes)?));
    TransactionId = |bytes| Ok(TransactionId::new(std::str::from_utf8(bytes)?));
    Currency = |bytes| Ok(Currency::new(std::str::from_utf8(bytes)?));
    Text = |bytes| Ok(Text(SmolStr::new(std::str::from_utf8(bytes)?)));
}
