//! Nothing: the package exists for its one integration binary, which opens in `main.rs`.
