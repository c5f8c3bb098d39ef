//! Rights, and the roles that give them.
//!
//! HMPPS Auth puts the roles of a person or of a client into `authorities`. A [`RoleMap`] says
//! which rights they give here; each of its entries is a text such as `RW=ROLE_A,ROLE_B@people`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer};

/// Makes [`Right`] from one list: each right with its word, the roles that give it by default and
/// its meaning.
macro_rules! rights {
    ($($variant:ident => $word:literal, $roles:literal, $meaning:literal;)*) => {
        /// A part of the ledger that a caller may use.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Right {
            $(#[doc = $meaning] $variant,)*
        }

        impl Right {
            /// Every right.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The right in a word, as settings name it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            const fn default_roles(self) -> &'static str {
                match self {
                    $(Self::$variant => $roles,)*
                }
            }
        }
    };
}

rights! {
    Read => "RO", "ROLE_ALLOCATION_LEDGER__RO,ROLE_ALLOC_CASE_MGR@people",
        "Ask about cases, prisons and histories.";
    Record => "RW", "ROLE_ALLOCATION_LEDGER__RW,ROLE_ALLOC_MGR@people",
        "Record, and ask.";
    Audit => "AUDIT", "ROLE_ALLOCATION_LEDGER__AUDIT",
        "See what an auditor sees, and ask.";
    Export => "EXPORT", "ROLE_ALLOCATION_LEDGER__EXPORT",
        "Take the whole log: the feed.";
    Operate => "OPERATE", "ROLE_ALLOCATION_LEDGER__OPERATE",
        "Look after the ledger: the state of its views.";
    LiveService => "LIVE", "ROLE_VIEW_POM_ALLOCATIONS+read",
        "Ask as clients of the live service \"Manage POM cases\" do.";
    Queues => "QUEUES", "ROLE_QUEUE_ADMIN",
        "Send messages that were given up back to their queue.";
    SubjectAccess => "SAR", "ROLE_SAR_DATA_ACCESS",
        "Read all that is held on a person, for a subject access request.";
    FirstApiRead => "FIRST_RO", "",
        "Ask as clients of the allocation API of 2019 did.";
    FirstApiRecord => "FIRST_RW", "",
        "Record as clients of the allocation API of 2019 did.";
}

impl Right {
    /// The further rights that this one gives.
    const fn includes(self) -> &'static [Self] {
        match self {
            Self::Record => &[Self::Read, Self::FirstApiRead, Self::FirstApiRecord, Self::LiveService],
            Self::Read => &[Self::FirstApiRead, Self::LiveService],
            Self::Audit => &[Self::Read, Self::FirstApiRead, Self::LiveService],
            Self::FirstApiRecord => &[Self::FirstApiRead],
            Self::Export
            | Self::Operate
            | Self::Queues
            | Self::LiveService
            | Self::SubjectAccess
            | Self::FirstApiRead => &[],
        }
    }
}

/// A set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u16);

impl Rights {
    fn add(&mut self, right: Right) {
        for right in [&[right], right.includes()].concat() {
            self.0 |= 1 << right as u16;
        }
    }

    /// Whether the right is in the set.
    #[must_use]
    pub fn contains(self, right: Right) -> bool {
        self.0 & (1 << right as u16) != 0
    }
}

/// Which roles give which rights.
#[derive(Debug, Clone)]
pub struct RoleMap {
    grants: Vec<(Right, Vec<Grant>)>,
    scope_clients: Vec<String>,
}

/// A way to have a right: a role, perhaps with a scope, perhaps of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    role: String,
    scope: Option<String>,
    is_of_people: bool,
}

/// The entry of a right in a [`RoleMap`], as a setting writes it: `RIGHT=ROLE[+scope][@people],…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RightRoles {
    right: Right,
    grants: Vec<Grant>,
}

/// Why a text is no entry of a [`RoleMap`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleMapError {
    /// It names no right.
    #[error("it is no RIGHT=ROLE,ROLE… with one of the rights {}", words())]
    NoRight,
    /// A role is no role.
    #[error(
        "a role is written ROLE_…, with +scope after it where the token must have that scope, and @people where only people have the right by it"
    )]
    NoRole,
}

fn words() -> String {
    Right::ALL.iter().map(|right| right.word()).collect::<Vec<_>>().join(", ")
}

impl FromStr for RightRoles {
    type Err = RoleMapError;

    fn from_str(text: &str) -> Result<Self, RoleMapError> {
        let (word, roles) = text.split_once('=').ok_or(RoleMapError::NoRight)?;
        let right = Right::ALL.iter().find(|right| right.word() == word).ok_or(RoleMapError::NoRight)?;
        Ok(Self { right: *right, grants: grants(roles)? })
    }
}

fn grants(roles: &str) -> Result<Vec<Grant>, RoleMapError> {
    roles.split(',').filter(|role| !role.is_empty()).map(Grant::read).collect()
}

impl Grant {
    fn read(text: &str) -> Result<Self, RoleMapError> {
        let (text, is_of_people) = match text.strip_suffix("@people") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (role, scope) = match text.split_once('+') {
            Some((role, scope)) => (role, Some(scope)),
            None => (text, None),
        };
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte))
        };
        if role.starts_with("ROLE_") && is_word(role) && scope.is_none_or(is_word) {
            Ok(Self { role: role.to_owned(), scope: scope.map(str::to_owned), is_of_people })
        } else {
            Err(RoleMapError::NoRole)
        }
    }

    fn is_met(&self, claims: &RoleClaims<'_>) -> bool {
        claims.authorities.contains(&self.role)
            && self.scope.as_ref().is_none_or(|scope| claims.has_scope(scope))
            && (claims.is_person || !self.is_of_people)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.role)?;
        self.scope.iter().try_for_each(|scope| write!(formatter, " with the scope `{scope}`"))?;
        if self.is_of_people { formatter.write_str(" of a person") } else { Ok(()) }
    }
}

/// The parts of a token that roles are read from.
pub(crate) struct RoleClaims<'a> {
    pub(crate) authorities: &'a [String],
    pub(crate) scopes: &'a Scopes,
    pub(crate) is_person: bool,
    pub(crate) client_id: Option<&'a str>,
}

impl RoleClaims<'_> {
    fn has_scope(&self, scope: &str) -> bool {
        self.scopes.0.iter().any(|given| given == scope)
    }
}

/// The scopes of a token, which are an array, or a text with spaces between them.
#[derive(Debug, Default)]
pub(crate) struct Scopes(Vec<String>);

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Array(Vec<String>),
            Text(String),
        }
        Ok(Self(match Option::<Written>::deserialize(deserializer)? {
            Some(Written::Array(words)) => words,
            Some(Written::Text(text)) => text.split_ascii_whitespace().map(str::to_owned).collect(),
            None => Vec::new(),
        }))
    }
}

impl RoleMap {
    /// The map by default, with these entries in place of its own, and with the clients that may
    /// use the API of 2019 by their scope alone.
    ///
    /// # Panics
    /// Never: the roles by default are in the code, and tests read them.
    #[must_use]
    pub fn new(entries: &[RightRoles], scope_clients: &[String]) -> Self {
        let entry = |right: Right| {
            let given = entries.iter().rev().find(|entry| entry.right == right);
            let default = || grants(right.default_roles()).expect("the roles by default can be read");
            (right, given.map_or_else(default, |entry| entry.grants.clone()))
        };
        Self { grants: Right::ALL.iter().copied().map(entry).collect(), scope_clients: scope_clients.to_vec() }
    }

    /// The roles that give one of these rights, in words: each with the scope that it needs.
    pub fn givers(&self, rights: &[Right]) -> impl Iterator<Item = String> {
        self.granting(rights).map(ToString::to_string)
    }

    /// The roles that give one of these rights, alone or with a scope.
    pub fn roles(&self, rights: &[Right]) -> impl Iterator<Item = &str> {
        self.granting(rights).map(|grant| grant.role.as_str())
    }

    fn granting(&self, rights: &[Right]) -> impl Iterator<Item = &Grant> {
        let gives = |right: Right| rights.iter().any(|asked| right == *asked || right.includes().contains(asked));
        self.grants.iter().filter(move |(right, _)| gives(*right)).flat_map(|(_, grants)| grants)
    }

    pub(crate) fn rights(&self, claims: &RoleClaims<'_>) -> Rights {
        let mut rights = Rights::default();
        for (right, grants) in &self.grants {
            if grants.iter().any(|grant| grant.is_met(claims)) {
                rights.add(*right);
            }
        }
        if claims.client_id.is_some_and(|client| self.scope_clients.iter().any(|named| named == client)) {
            for (scope, right) in [("read", Right::FirstApiRead), ("write", Right::FirstApiRecord)] {
                if claims.has_scope(scope) {
                    rights.add(right);
                }
            }
        }
        rights
    }
}

impl Default for RoleMap {
    fn default() -> Self {
        Self::new(&[], &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(map: &RoleMap, authorities: &[&str], scope: &str, is_person: bool, rights: &str) {
        let scopes: Scopes = serde_json::from_str(&format!("\"{scope}\"")).expect("scopes");
        let authorities: Vec<_> = authorities.iter().map(|role| (*role).to_owned()).collect();
        let claims =
            RoleClaims { authorities: &authorities, scopes: &scopes, is_person, client_id: Some("old-client") };
        let has = map.rights(&claims);
        let words: Vec<_> = Right::ALL.iter().filter(|right| has.contains(**right)).map(|right| right.word()).collect();
        assert_eq!(words.join(" "), rights, "{authorities:?}");
    }

    #[test]
    fn roles_give_rights_and_those_that_they_include() {
        let map = RoleMap::default();
        check(&map, &[], "read write", true, "");
        check(&map, &["ROLE_ALLOCATION_LEDGER__RO"], "", false, "RO LIVE FIRST_RO");
        check(&map, &["ROLE_ALLOCATION_LEDGER__RW"], "", false, "RO RW LIVE FIRST_RO FIRST_RW");
        check(&map, &["ROLE_ALLOCATION_LEDGER__AUDIT"], "", false, "RO AUDIT LIVE FIRST_RO");
        check(&map, &["ROLE_ALLOCATION_LEDGER__EXPORT"], "", false, "EXPORT");
        check(&map, &["ROLE_ALLOCATION_LEDGER__OPERATE"], "", false, "OPERATE");
        check(&map, &["ROLE_QUEUE_ADMIN"], "", false, "QUEUES");
        check(&map, &["ROLE_SAR_DATA_ACCESS"], "", false, "SAR");
        check(&map, &["ROLE_ALLOC_MGR"], "", true, "RO RW LIVE FIRST_RO FIRST_RW");
        check(&map, &["ROLE_ALLOC_MGR", "ROLE_ALLOC_CASE_MGR"], "", false, "");
        check(&map, &["ROLE_ALLOC_CASE_MGR"], "", true, "RO LIVE FIRST_RO");
        check(&map, &["ROLE_VIEW_POM_ALLOCATIONS"], "write", false, "");
        check(&map, &["ROLE_VIEW_POM_ALLOCATIONS"], "openid read", false, "LIVE");
        check(&map, &["role_allocation_ledger__ro", "ALLOCATION_LEDGER__RO"], "", true, "");
    }

    #[test]
    fn a_scope_alone_is_enough_for_named_clients() {
        let map = RoleMap::new(&[], &["old-client".to_owned()]);
        check(&map, &[], "read", false, "FIRST_RO");
        check(&map, &[], "write", false, "FIRST_RO FIRST_RW");
        check(&map, &[], "", false, "");
        check(&RoleMap::new(&[], &["other".to_owned()]), &[], "read write", false, "");
    }

    #[test]
    fn an_entry_replaces_the_roles_of_its_right() {
        let map = RoleMap::new(&["RW=ROLE_X,ROLE_Y+write@people".parse().expect("an entry")], &[]);
        check(&map, &["ROLE_ALLOCATION_LEDGER__RW"], "", true, "");
        check(&map, &["ROLE_X"], "", false, "RO RW LIVE FIRST_RO FIRST_RW");
        check(&map, &["ROLE_Y"], "write", false, "");
        check(&map, &["ROLE_Y"], "read", true, "");
        check(&map, &["ROLE_Y"], "write", true, "RO RW LIVE FIRST_RO FIRST_RW");
        assert_eq!(
            map.givers(&[Right::Record]).collect::<Vec<_>>(),
            ["ROLE_X", "ROLE_Y with the scope `write` of a person"]
        );
        for wrong in ["", "RW", "XX=ROLE_A", "RW=A", "RW=ROLE_A+", "RW=ROLE_A B", "RW=@people"] {
            assert!(wrong.parse::<RightRoles>().is_err(), "{wrong}");
        }
    }
}
