//! Text that people write.

use serde::Deserialize;

/// Longest text, in characters, unless a rule of the domain says less: bounds the size of an event.
const LEN_MAX: usize = 500;

/// Text in one line that is not blank, without the spaces around it.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Text(String);

impl TryFrom<String> for Text {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let text = text.trim();
        refuse_control_characters(text, "")?;
        match text.chars().count() {
            0 => Err("blank; expected text".to_owned()),
            len if len > LEN_MAX => Err(format!("{len} characters; at most {LEN_MAX} are allowed")),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

/// Text in lines, as it was written. The domain decides how long it may be, and whether blank.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Lines(String);

impl TryFrom<String> for Lines {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        refuse_control_characters(&text, "\r\n\t")?;
        Ok(Self(text))
    }
}

impl From<Lines> for String {
    fn from(text: Lines) -> Self {
        text.0
    }
}

/// Control characters cannot be seen, and not every store and reader keeps them.
fn refuse_control_characters(text: &str, except: &str) -> Result<(), String> {
    match text.chars().find(|&c| c.is_control() && !except.contains(c)) {
        Some(c) => Err(format!("the control character U+{:04X} is not allowed in text", u32::from(c))),
        None => Ok(()),
    }
}
