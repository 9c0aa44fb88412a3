//! The integration tests, as one binary, so that the workspace is linked once.
//!
//! What is tested here is what no crate can test alone: the repository itself ([`tidy`]) and the
//! binary on folders of inputs ([`feed_cases`], [`feed_model`]).

mod feed_cases;
mod feed_model;
mod support;
mod synthetic;
mod tidy;
