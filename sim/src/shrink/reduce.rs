//! Delta debugging: the smallest list that still has a property, one element at a time at the end.

/// Takes elements out of a list as long as what is left has the property; whether any went.
///
/// Halves are tried first, then ever smaller pieces. The list itself must have the property.
pub(super) fn minimise<T: Clone>(
    items: Vec<T>,
    mut holds: impl FnMut(&[T]) -> bool,
) -> (Vec<T>, bool) {
    let before = items.len();
    let mut left = items;
    if !left.is_empty() && holds(&[]) {
        return (Vec::new(), true);
    }
    let mut piece = left.len().div_ceil(2);
    while piece > 0 && left.len() > 1 {
        let mut at = 0;
        while at < left.len() {
            let end = (at + piece).min(left.len());
            let rest = [&left[..at], &left[end..]].concat();
            if !rest.is_empty() && holds(&rest) {
                left = rest;
            } else {
                at = end;
            }
        }
        piece = if piece == 1 { 0 } else { piece.div_ceil(2).min(left.len().div_ceil(2)).max(1) };
    }
    let is_less = left.len() < before;
    (left, is_less)
}

/// The smallest number from `least` on with which something holds, where `most` is known to hold:
/// first the least, then by halves.
pub(super) fn lower(least: u64, most: u64, mut holds: impl FnMut(u64) -> bool) -> u64 {
    if least >= most || holds(least) {
        return least.min(most);
    }
    let (mut fails, mut works) = (least, most);
    while works - fails > 1 {
        let middle = fails + (works - fails) / 2;
        if holds(middle) {
            works = middle;
        } else {
            fails = middle;
        }
    }
    works
}
