//! Since which entry a case has a role: a question about all that the log has had of the case.

use crate::{
    event::Entry,
    prisoner::{History, PomRole, PrisonerEvent, State},
};

/// The entries that brought about a role. `None` for a role that the case does not have now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoleOrigins<'a> {
    /// The entry that brought about the role: since that one was recorded, the same entry gave the
    /// role at any position of the log.
    ///
    /// It may be another entry than the one that gave the role: a void of the end of the role, or a
    /// backdated entry through which an earlier merge takes the role over.
    pub of_role: Option<&'a Entry<PrisonerEvent>>,
    /// The entry since which the log has had the POM in a role on the case at that prison,
    /// whichever entry gave the role.
    pub of_holder: Option<&'a Entry<PrisonerEvent>>,
}

impl History {
    /// The entries that brought about a role, which the case has now.
    #[must_use]
    pub fn origins_of(&self, role: &PomRole) -> RoleOrigins<'_> {
        let mut origins = RoleOrigins { of_role: None, of_holder: None };
        let mut known = KnownRoles::default();
        for entry in self.entries() {
            known.learn(entry);
            let is_of_holder = |held: &&PomRole| held.pom.staff_id == role.pom.staff_id && held.prison == role.prison;
            let held = || known.present().into_iter().flat_map(State::roles).filter(is_of_holder);
            let is_held = held().any(|held| held.given_by == role.given_by);
            origins.of_role = is_held.then(|| origins.of_role.unwrap_or(entry));
            origins.of_holder = held().next().map(|_| origins.of_holder.unwrap_or(entry));
        }
        origins
    }
}

/// The roles on a case, while the log gets to know one entry after the other.
#[derive(Default)]
struct KnownRoles<'a> {
    /// The entries in effect, in effective order, each with the roles after it. A long case has
    /// thousands, so none is cloned, and an entry is folded again only where roles change before
    /// it.
    in_effect: Vec<(&'a Entry<PrisonerEvent>, Box<State>)>,
}

impl<'a> KnownRoles<'a> {
    /// The roles after all entries known.
    fn present(&self) -> Option<&State> {
        self.in_effect.last().map(|(_, roles)| &**roles)
    }

    /// Takes in the entry recorded next.
    fn learn(&mut self, entry: &'a Entry<PrisonerEvent>) {
        if let PrisonerEvent::EntryVoided(void) = &entry.event {
            if let Some(index) = self.in_effect.iter().position(|(known, _)| known.revision == void.revision) {
                self.in_effect.remove(index);
                self.fold_from(index);
            }
        } else {
            // After the entries of the same instant, which were recorded before it.
            let index = self.in_effect.partition_point(|(known, _)| known.effective_at <= entry.effective_at);
            let unchanged = self.before(index);
            self.in_effect.insert(index, (entry, unchanged));
            self.fold_from(index);
        }
    }

    /// Folds the entries from `index` on, up to one after which the roles are as they were: all
    /// later ones follow from those.
    fn fold_from(&mut self, index: usize) {
        let mut roles = self.before(index);
        for (entry, after) in &mut self.in_effect[index..] {
            roles.apply(entry);
            *roles = roles_of(*roles);
            if *after == roles {
                break;
            }
            after.clone_from(&roles);
        }
    }

    /// The roles before the entry at `index`.
    fn before(&self, index: usize) -> Box<State> {
        index.checked_sub(1).map_or_else(Box::default, |last| self.in_effect[last].1.clone())
    }
}

/// The part of a state that decides on roles, now and after any later event.
fn roles_of(state: State) -> State {
    let State { prison, primary_pom, coworking_pom, .. } = state;
    State { prison, primary_pom, coworking_pom, ..State::default() }
}
