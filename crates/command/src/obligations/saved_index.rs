//! The index as bytes, which the event store keeps for the next start.
//!
//! | part | form |
//! |---|---|
//! | [`FORMAT`] | 4 bytes |
//! | the last event | position, id in 16 bytes, recorded time |
//! | the POMs | their number; each with prison, staff id, status, cases ever held, cases it may hold |
//! | the cases with merges that carry roles | their number; each |
//! | the corrected go-live dates | their number; each with its prison |
//! | the prisons with contacts in NOMIS | their number; each with its contacts: id in 16 bytes, whose |
//! | the obligations, those under way too | their number; each with its kind, and the names in it |
//! | digest | SHA-256 of all before it |
//!
//! Numbers take seven bits a byte, the lowest first, and an eighth bit says that more follow.
//! Prisoner numbers are sorted, and each is the distance from the one before it: most take three
//! bytes.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use domain::identifier::{EventId, PrisonCode, StaffId};
use event_log::{Bookmark, LogError, SharedLog, Snapshot};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    ContactNumbers, Obligation,
    contact_numbers::ContactsOfPrison,
    role_holders::{PackedPrisonerNumber, PomCases, RoleHolders},
};

/// The number of this format. It rises with a change of the bytes, of the meaning of an event for
/// the index, or of how a policy discharges an obligation: an index that an earlier version saved
/// may lack a holder, or an obligation that the earlier policy took for discharged.
pub(super) const FORMAT: u32 = 4;

const FORMAT_BYTES: usize = size_of::<u32>();
const DIGEST_BYTES: usize = 32;

/// The reason why a snapshot of the index is passed over, and the index is made from the whole log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnusableSnapshot {
    #[error("it is in format {0}, and this version of the program reads format {FORMAT}")]
    OtherFormat(u32),
    #[error("its bytes are not those that were saved")]
    Digest,
    #[error("its content cannot be read")]
    Unreadable,
    #[error("it is of position {of}, and was kept as one of position {kept}")]
    OtherPosition { of: u64, kept: u64 },
    #[error("it is of another log: its last event, at position {0}, is not in this one")]
    OtherLog(u64),
    #[error("the event store does not give it out")]
    Log(#[from] LogError),
}

/// The index and its last event as bytes.
pub(super) fn encode(holders: &RoleHolders, last_event: Bookmark) -> Vec<u8> {
    let mut out = Packer(FORMAT.to_le_bytes().to_vec());
    out.number(last_event.position);
    out.0.extend_from_slice(last_event.event_id.map_or(Uuid::nil(), |id| id.0).as_bytes());
    out.instant(last_event.recorded_at.unwrap_or_default());
    out.count(holders.poms.len());
    let mut poms: Vec<_> = holders.poms.iter().collect();
    poms.sort_unstable_by_key(|(key, _)| *key);
    for ((prison, staff_id), pom) in poms {
        out.prison(prison);
        out.number(staff_id.get().cast_unsigned());
        match pom.status {
            None => out.0.push(0),
            Some((since, is_inactive)) => {
                out.0.push(1 + u8::from(is_inactive));
                out.instant(since);
            }
        }
        out.cases(&pom.ever_held);
        let mut may_hold: Vec<_> = pom.may_hold.iter().collect();
        may_hold.sort_unstable();
        out.count(may_hold.len());
        let mut before = 0;
        for (&number, &since) in may_hold {
            out.distance(&mut before, number);
            out.instant(since);
        }
    }
    out.cases(&holders.merged);
    out.count(holders.go_live.len());
    for (prison, &go_live) in &holders.go_live {
        out.prison(prison);
        out.instant(go_live);
    }
    let contacts = holders.contacts.by_prison();
    out.count(contacts.len());
    for (prison, contacts) in contacts {
        out.prison(prison);
        out.count(contacts.len());
        for (id, number) in contacts {
            out.0.extend_from_slice(id.as_bytes());
            out.number(number.get().into());
        }
    }
    // Those under way are not done: if the process ends now, the next one must do them.
    let mut obligations: Vec<_> = holders.obligations.union(&holders.under_way).collect();
    obligations.sort_unstable();
    out.count(obligations.len());
    for obligation in obligations {
        match obligation {
            Obligation::EndOfRole { prison, staff_id, number } => {
                out.0.push(0);
                out.prison(prison);
                out.number(staff_id.get().cast_unsigned());
                out.distance(&mut 0, number.into());
            }
            Obligation::Merge { removed } => {
                out.0.push(1);
                out.distance(&mut 0, removed.into());
            }
            Obligation::GoLiveReport { prison } => {
                out.0.push(2);
                out.prison(prison);
            }
        }
    }
    let digest = Sha256::digest(&out.0);
    out.0.extend_from_slice(&digest);
    out.0
}

/// The index and its last event of a snapshot, where it is one of this log.
pub(super) async fn decode_of_log(
    snapshot: &Snapshot,
    log: &SharedLog,
) -> Result<(RoleHolders, Bookmark), UnusableSnapshot> {
    let (holders, last_event) = decode(&snapshot.content)?;
    let position = last_event.position;
    if position != snapshot.position {
        return Err(UnusableSnapshot::OtherPosition { of: position, kept: snapshot.position });
    }
    if !last_event.is_in(log).await? {
        return Err(UnusableSnapshot::OtherLog(position));
    }
    Ok((holders, last_event))
}

/// The index and its last event of bytes that [`encode`] made.
pub(super) fn decode(bytes: &[u8]) -> Result<(RoleHolders, Bookmark), UnusableSnapshot> {
    let (format, _) = bytes.split_first_chunk::<FORMAT_BYTES>().ok_or(UnusableSnapshot::Unreadable)?;
    let format = u32::from_le_bytes(*format);
    if format != FORMAT {
        return Err(UnusableSnapshot::OtherFormat(format));
    }
    let (content, digest) = bytes.split_last_chunk::<DIGEST_BYTES>().ok_or(UnusableSnapshot::Unreadable)?;
    if Sha256::digest(content).as_slice() != digest {
        return Err(UnusableSnapshot::Digest);
    }
    let mut content = Unpacker(content.get(FORMAT_BYTES..).ok_or(UnusableSnapshot::Unreadable)?);
    let index = content.index().ok_or(UnusableSnapshot::Unreadable)?;
    if content.0.is_empty() { Ok(index) } else { Err(UnusableSnapshot::Unreadable) }
}

/// Writes values one after the other.
struct Packer(Vec<u8>);

impl Packer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    fn instant(&mut self, at: DateTime<Utc>) {
        // The sign goes into the lowest bit, so that instants before 1970 are short too.
        let seconds = at.timestamp();
        self.number((seconds.cast_unsigned() << 1) ^ (seconds >> 63).cast_unsigned());
        self.number(at.timestamp_subsec_nanos().into());
    }

    fn prison(&mut self, prison: &PrisonCode) {
        self.count(prison.as_str().len());
        self.0.extend_from_slice(prison.as_str().as_bytes());
    }

    fn cases(&mut self, numbers: &BTreeSet<PackedPrisonerNumber>) {
        self.count(numbers.len());
        let mut before = 0;
        for &number in numbers {
            self.distance(&mut before, number);
        }
    }

    fn distance(&mut self, before: &mut u32, number: PackedPrisonerNumber) {
        self.number((number.get() - *before).into());
        *before = number.get();
    }
}

/// Reads values one after the other. Answers nothing where the bytes are not such a value.
struct Unpacker<'a>(&'a [u8]);

impl Unpacker<'_> {
    fn index(&mut self) -> Option<(RoleHolders, Bookmark)> {
        let last_event = Bookmark {
            position: self.number()?,
            event_id: Some(EventId(self.uuid()?)),
            recorded_at: Some(self.instant()?),
        };
        let mut holders = RoleHolders::default();
        for _ in 0..self.number()? {
            let key = (self.prison()?, self.staff_id()?);
            holders.poms.insert(key, Arc::new(self.pom()?));
        }
        holders.merged = self.cases()?;
        for _ in 0..self.number()? {
            holders.go_live.insert(self.prison()?, self.instant()?);
        }
        let mut contacts = Vec::new();
        for _ in 0..self.number()? {
            contacts.push((self.prison()?, self.contacts()?));
        }
        holders.contacts = ContactNumbers::from_iter(contacts);
        for _ in 0..self.number()? {
            holders.obligations.insert(self.obligation()?);
        }
        Some((holders, last_event))
    }

    fn pom(&mut self) -> Option<PomCases> {
        let status = match self.byte()? {
            0 => None,
            inactive @ (1 | 2) => Some((self.instant()?, inactive == 2)),
            _ => return None,
        };
        let ever_held = self.cases()?;
        let mut may_hold = HashMap::new();
        let mut before = 0;
        for _ in 0..self.number()? {
            may_hold.insert(self.distance(&mut before)?, self.instant()?);
        }
        Some(PomCases { status, may_hold, ever_held })
    }

    fn cases(&mut self) -> Option<BTreeSet<PackedPrisonerNumber>> {
        let mut numbers = Vec::new();
        let mut before = 0;
        for _ in 0..self.number()? {
            numbers.push(self.distance(&mut before)?);
        }
        Some(BTreeSet::from_iter(numbers))
    }

    fn contacts(&mut self) -> Option<ContactsOfPrison> {
        let mut contacts = ContactsOfPrison::new();
        for _ in 0..self.number()? {
            let id = self.uuid()?;
            contacts.insert(id, PackedPrisonerNumber::new(self.number()?.try_into().ok()?)?);
        }
        Some(contacts)
    }

    fn obligation(&mut self) -> Option<Obligation> {
        match self.byte()? {
            0 => Some(Obligation::EndOfRole {
                prison: self.prison()?,
                staff_id: self.staff_id()?,
                number: self.distance(&mut 0)?.into(),
            }),
            1 => Some(Obligation::Merge { removed: self.distance(&mut 0)?.into() }),
            2 => Some(Obligation::GoLiveReport { prison: self.prison()? }),
            _ => None,
        }
    }

    fn bytes(&mut self, count: usize) -> Option<&[u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn uuid(&mut self) -> Option<Uuid> {
        self.bytes(16).and_then(|bytes| Uuid::from_slice(bytes).ok())
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn instant(&mut self) -> Option<DateTime<Utc>> {
        let seconds = self.number()?;
        let seconds = (seconds >> 1).cast_signed() ^ -(seconds & 1).cast_signed();
        DateTime::from_timestamp(seconds, self.number()?.try_into().ok()?)
    }

    fn prison(&mut self) -> Option<PrisonCode> {
        let len = self.number()?.try_into().ok()?;
        str::from_utf8(self.bytes(len)?).ok()?.parse().ok()
    }

    fn staff_id(&mut self) -> Option<StaffId> {
        StaffId::try_from(self.number()?.cast_signed()).ok()
    }

    fn distance(&mut self, before: &mut u32) -> Option<PackedPrisonerNumber> {
        *before = before.checked_add(self.number()?.try_into().ok()?)?;
        PackedPrisonerNumber::new(*before)
    }
}
