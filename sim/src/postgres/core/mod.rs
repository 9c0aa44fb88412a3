//! The generic core: versioned tables, row locks, transactions at READ COMMITTED.

pub mod hash;
pub mod locks;
pub mod session;
pub mod storage;
pub mod table;
