//! The prisons of callers, by a file of the operator's. Each line has the words `user` or `client`,
//! a name, and codes of prisons with commas between them; a line that begins with `#` is a comment:
//!
//! ```text
//! # heads of offender management
//! user   HOMD_LEI        LEI,MDI
//! client wetherby-kiosk  WYI
//! ```

use std::{collections::HashMap, path::Path, sync::Arc};

use domain::{
    confinement::Prisons,
    identifier::{PrisonCode, Username},
    text::Excerpt,
};

/// The prisons of users and of clients.
#[derive(Debug, Default)]
pub struct PrisonFile {
    users: HashMap<Username, Prisons>,
    clients: HashMap<String, Prisons>,
}

/// Why a file gives no prisons.
#[derive(Debug, thiserror::Error)]
pub enum PrisonFileError {
    /// It cannot be read.
    #[error("read the file")]
    Unreadable(#[source] std::io::Error),
    /// A line is not of the form that a line has.
    #[error("line {line}: {fault}")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// The fault, and how to mend it.
        fault: String,
    },
}

impl PrisonFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`PrisonFileError`], which names the first line that is wrong.
    pub fn read(path: &Path) -> Result<Self, PrisonFileError> {
        Self::parse(&std::fs::read_to_string(path).map_err(PrisonFileError::Unreadable)?)
    }

    fn parse(text: &str) -> Result<Self, PrisonFileError> {
        let mut file = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line_text = line.trim();
            if !line_text.is_empty() && !line_text.starts_with('#') {
                file.add(line_text).map_err(|fault| PrisonFileError::Line { line: index + 1, fault })?;
            }
        }
        Ok(file)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[kind, name, prisons] = words.as_slice() else {
            return Err("write `user` or `client`, a name, and prisons with commas between them, e.g. user HOMD_LEI \
                        LEI,MDI"
                .to_owned());
        };
        let codes = prisons.split(',').map(|code| code.parse::<PrisonCode>().map_err(|invalid| invalid.to_string()));
        let prisons = Arc::new(codes.collect::<Result<_, _>>()?);
        let earlier = match kind {
            "user" => {
                let user = Username::read(name).map_err(|invalid| invalid.to_string())?;
                self.users.insert(user, prisons)
            }
            "client" => self.clients.insert(name.to_owned(), prisons),
            _ => return Err(format!("`{}` is neither `user` nor `client`", Excerpt(kind))),
        };
        match earlier {
            None => Ok(()),
            Some(_) => Err(format!("the {kind} {} has a line before; put all prisons into one", Excerpt(name))),
        }
    }

    pub(crate) fn of_user(&self, user: &Username) -> Option<&Prisons> {
        self.users.get(user)
    }

    pub(crate) fn of_client(&self, client: &str) -> Option<&Prisons> {
        self.clients.get(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_gives_the_prisons_of_a_caller() {
        let text = "# a comment\n\nuser homd_lei LEI,MDI\n  client kiosk\tWYI\nuser frank@example.org HDI\n";
        let file = PrisonFile::parse(text).expect("a file");
        let codes = |prisons: Option<&Prisons>| {
            prisons.map(|prisons| prisons.iter().map(PrisonCode::as_str).collect::<Vec<_>>().join(","))
        };
        let user = |name: &str| codes(file.of_user(&Username::read(name).expect("a username")));
        assert_eq!(user("HOMD_LEI").as_deref(), Some("LEI,MDI"));
        assert_eq!(user("Frank@Example.org").as_deref(), Some("HDI"));
        assert_eq!(user("kiosk"), None);
        assert_eq!(codes(file.of_client("kiosk")).as_deref(), Some("WYI"));
        assert_eq!(codes(file.of_client("KIOSK")), None, "ids of clients are as written");
    }

    #[test]
    fn a_fault_is_named_with_its_line() {
        for (text, line, said) in [
            ("user A LEI\nuser B", 2, "commas between"),
            ("user A LEI, MDI", 1, "commas between"),
            ("user A LEI\n\nuser B leeds", 3, "`leeds`"),
            ("user A LEI,", 1, "prison"),
            ("group A LEI", 1, "`group` is neither"),
            ("user straße LEI", 1, "username"),
            ("user a LEI\nuser A MDI", 2, "a line before"),
        ] {
            let error = PrisonFile::parse(text).expect_err(text).to_string();
            assert!(error.starts_with(&format!("line {line}: ")) && error.contains(said), "{error}");
        }
    }
}
