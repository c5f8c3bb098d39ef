//! Progress bars on standard error, where that is a terminal: what is counted, in whole numbers,
//! and the time left.

use indicatif::ProgressStyle;

/// A bar over positions of the log, which need not be as many as its events.
pub const POSITIONS: &str = "{msg} {wide_bar} {human_pos} of {human_len} positions {per_sec:0} {eta}";

/// A bar over parts of the work, of about the same size.
pub const PARTS: &str = "{msg} {wide_bar} part {human_pos} of {human_len} {eta}";

/// A bar over rows.
pub const ROWS: &str = "{msg} {wide_bar} {human_pos} of {human_len} rows {per_sec:0} {eta}";

/// A bar over cases.
pub const CASES: &str = "{msg} {wide_bar} {human_pos} of {human_len} cases {eta}";

/// A bar of which the message says how much is done.
pub const PERCENT: &str = "{prefix} {msg} {wide_bar} {percent} % {eta}";

/// Work of which it is not known how much there is.
pub const UNMEASURED: &str = "{msg} {spinner}";

/// The style of a bar with one of these templates.
#[must_use]
pub fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
