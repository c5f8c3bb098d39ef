//! Cursors of lists, as a caller may change them.
#![no_main]

use http_api::page::Cursor;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let cursor: Cursor = serde_json::from_value(text.into()).expect("any text may be one");
    if let Ok(key) = cursor.key::<(String, String)>() {
        assert_eq!(Cursor::after(&key).key::<(String, String)>().ok(), Some(key));
    }
    let _ = cursor.key::<(i64, String)>();
});
