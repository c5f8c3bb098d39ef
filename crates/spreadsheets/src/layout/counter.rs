//! Tells a column that counts rows from a column of staff ids. A counter in the place of a staff id
//! would make a POM of every case.

use std::collections::{HashMap, HashSet};

/// Below this number, an id in a column that is not headed as staff ids is none: NOMIS counts in
/// hundreds of thousands.
pub const LEAST_UNSURE_ID: i64 = 1_000;

/// From this number on, an id in a column that is headed as staff ids is one, even if it is in no
/// other row.
const LEAST_SURE_ID: i64 = 100_000;

/// Whether numbers, each with the POM's name in its row, count the rows: 1, 2, 3 …, or another
/// number in each row although names repeat. A heading that can be trusted needs more of a proof.
pub fn counts_rows(numbers: &[(i64, Option<String>)], is_trusted: bool) -> bool {
    let (rows_min, repeated_min) = if is_trusted { (3, numbers.len().div_ceil(2)) } else { (1, 1) };
    if numbers.len() < rows_min {
        return false;
    }
    let are_ids = is_trusted && numbers.iter().all(|(number, _)| *number >= LEAST_SURE_ID);
    is_running(numbers) || !are_ids && is_new_in_each_row(numbers, repeated_min)
}

/// 0 or 1 first, and mostly one more in the next row. A sheet may have lost rows, and may count
/// anew in each part.
fn is_running(numbers: &[(i64, Option<String>)]) -> bool {
    let steps: Vec<i64> = numbers.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].0)).collect();
    let count = |wanted: fn(i64) -> bool| steps.iter().filter(|step| wanted(**step)).count();
    let is_low = numbers.iter().map(|(number, _)| *number).min().is_some_and(|least| least <= 1);
    is_low && (count(|step| step == 1) * 2 >= steps.len() || count(|step| step > 0) == steps.len())
}

/// No number twice, although at least `repeated_min` rows have the name of an earlier one.
fn is_new_in_each_row(numbers: &[(i64, Option<String>)], repeated_min: usize) -> bool {
    let distinct: HashSet<i64> = numbers.iter().map(|(number, _)| *number).collect();
    let mut names = HashMap::<&str, usize>::new();
    for name in numbers.iter().filter_map(|(_, name)| name.as_deref()) {
        *names.entry(name).or_default() += 1;
    }
    let repeated: usize = names.values().map(|rows| rows - 1).sum();
    numbers.len() >= 3 && distinct.len() == numbers.len() && repeated >= repeated_min
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expected: (bool, bool), numbers: &[i64], names: &str) {
        let names = names.split(' ').map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()));
        let numbers: Vec<_> = numbers.iter().copied().zip(names.chain(std::iter::repeat(None))).collect();
        let found = [false, true].map(|is_trusted| counts_rows(&numbers, is_trusted));
        assert_eq!((found[0], found[1]), expected, "{numbers:?}");
    }

    #[test]
    fn a_counter_is_told_from_staff_ids() {
        check((true, true), &[1, 2, 3, 4], "");
        check((true, true), &[0, 1, 2], "a b c");
        check((true, true), &[1, 2, 4, 7, 8], "a b c d e");
        check((true, true), &[1, 2, 3, 1, 2, 3, 4], "a a a b b b b");
        check((true, true), &[101, 102, 103, 104], "a a b b");
        check((true, true), &[10, 20, 30, 40], "a a b b");
        check((true, false), &[1, 2], "a b");
        check((true, false), &[1], "a");
    }

    /// A cell may hold any number.
    #[test]
    fn numbers_at_both_ends_of_the_range_are_compared() {
        check((false, false), &[i64::MAX, i64::MIN, i64::MAX, i64::MIN], "");
        check((true, true), &[i64::MIN, 0, i64::MAX], "");
    }

    #[test]
    fn staff_ids_are_no_counter() {
        check((false, false), &[485_926, 485_926, 485_927], "a a b");
        check((false, false), &[485_901, 485_902, 485_903, 485_904], "a b c d");
        check((false, false), &[485_900, 485_901, 485_902, 485_900, 485_901, 485_902], "a b c a b c");
        check((false, false), &[485_901, 485_902, 485_903], "");
        check((true, false), &[485_926, 485_927, 485_928], "a a b");
        check((true, false), &[485_926, 485_927, 485_928, 485_929], "a a a a");
        check((false, false), &[], "");
    }
}
