//! Sweeps: scenarios over seeds, in parallel worker processes, on one machine or on many.
//!
//! A [`Manifest`] says what belongs to a sweep, in one order for everybody, so that shards know
//! their part without talking to each other. A [`pool`] of workers, processes of this very binary,
//! runs the items. A [`folder`] keeps each result as soon as it is there, so that a sweep that was
//! stopped goes on where it was, and [`merge`] makes one folder of those of all shards.
//!
//! Here, and not in a run, are processes, signals and time of the machine. A sweep refuses to let
//! them show: what it writes is the same bytes whoever ran it, with however many workers, and
//! whatever died on the way.

pub mod folder;
pub mod manifest;
pub mod merge;
pub mod pool;
pub mod worker;

pub use folder::{Folder, FolderError};
pub use manifest::{Item, Manifest, Shard};
