//! The state of keys, which is what the services fence each other with.

use super::super::rows::KeyState;
use crate::domain::ids::Key;

statements! {
    /// `SELECT * FROM position_state WHERE key = ANY($keys) ORDER BY key FOR NO KEY UPDATE [SKIP
    /// LOCKED]`: the fence. Whatever is decided or written for a key comes after it.
    LockKeys {
        /// Keys in key order.
        keys: Vec<Key>,
        /// Leave out keys that somebody else holds.
        skip_locked: bool,
    } -> Vec<KeyState>;

    /// `UPDATE position_state SET <all columns but key>, updated_at = now() FROM unnest($rows)
    /// WHERE key = ..` of rows that this transaction has locked.
    UpdateKeys {
        /// Whole rows in key order; `updated_at` is ignored.
        rows: Vec<KeyState>,
    } -> ();
}
