//! Text that says something.

use serde::Deserialize;

/// Longest text, in characters, where no rule of the domain says less: a bound on what one event can weigh.
const LEN_MAX: usize = 500;

/// Text that is not blank, without the spaces around it.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Text(String);

impl TryFrom<String> for Text {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let text = text.trim();
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
