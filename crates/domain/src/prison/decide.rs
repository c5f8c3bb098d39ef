//! From a prison's past and a command to a new event, or to a refusal.

use chrono::{DateTime, Utc};

use crate::{
    Refusal, Rule,
    effective_time::check_effective_at,
    identifier::{PrisonCode, StaffId},
    named_prisoners::refuse_named_prisoners,
    officer::PomStatus,
    prison::{Command, History, PrisonEvent, Roster, RosterPom, go_live},
    refusal::{DETAIL_LEN_MAX, refuse_long},
};

/// The circumstances of a decision beside the prison's own past.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The recorder's clock.
    pub now: DateTime<Utc>,
    /// The effective time of the command; a time later than `now` is refused.
    pub effective_at: DateTime<Utc>,
}

/// Decides a command: one event, or the first rule that says no.
///
/// A backdated command is judged by the roster at its effective time. It cannot make a later entry
/// illegal (rule 8 in `docs/domain.md`): nothing on a roster is ever taken away, and a later entry
/// that then repeats what holds already changes nothing. So a further entry corrects a status with
/// too late a date, or a POM registered too late. Only a correction of the go-live date must come
/// after those before it.
///
/// # Errors
/// A [`Refusal`] with the code and the sentence of the rule.
pub fn decide(history: &History, command: &Command, context: &Context) -> Result<Vec<PrisonEvent>, Refusal> {
    check_effective_at(context.effective_at, context.now)?;
    refuse_named_prisoners(command.texts(), |_| false)?;
    let code = history.code();
    let roster = history.roster_at(context.effective_at);
    let event = event_of(code, &roster, command)?;
    check(history, &roster, &event)?;
    if matches!(event, PrisonEvent::PrisonOmicDateCorrected(_)) {
        go_live::refuse_backdated(history, context.effective_at)?;
    }
    Ok(vec![event])
}

fn event_of(code: &PrisonCode, roster: &Roster, command: &Command) -> Result<PrisonEvent, Refusal> {
    Ok(match command {
        Command::JoinOmic(_) if code.listed_name().is_none() => {
            return Err(Refusal::new(
                Rule::PrisonUnlisted,
                format!("{} Check the code, or say that the prison is unlisted.", code.unlisted_sentence()),
            ));
        }
        Command::JoinOmic(joined) | Command::JoinOmicUnlisted(joined) => PrisonEvent::PrisonJoinedOmic(joined.clone()),
        Command::CorrectGoLiveDate(correction) => go_live::correct(code, roster, correction)?,
        Command::RegisterPom(registered) => PrisonEvent::PomRegistered(registered.clone()),
        Command::ChangePomDetails(changed) => PrisonEvent::PomDetailsChanged(changed.clone()),
        Command::ChangePomStatus(changed) => {
            refuse_long("reason", changed.reason.as_ref(), DETAIL_LEN_MAX)?;
            if changed.returns_on.is_some() && changed.status != PomStatus::Unavailable {
                return Err(Refusal::new(
                    Rule::ReturnDateNeedsUnavailable,
                    "A date of return goes with the status UNAVAILABLE only. Leave it out, or use that status.",
                ));
            }
            PrisonEvent::PomStatusChanged(changed.clone())
        }
    })
}

/// Whether `event` may follow `roster`, which is what the history held at its effective time.
fn check(history: &History, roster: &Roster, event: &PrisonEvent) -> Result<(), Refusal> {
    let code = history.code();
    let registered = |staff_id: StaffId| {
        roster.poms.get(&staff_id).ok_or_else(|| {
            Refusal::new(
                Rule::PomNotRegistered,
                format!(
                    "No POM with staff id {staff_id} is on the roster of {code} at that time. Register the POM first."
                ),
            )
        })
    };
    match event {
        PrisonEvent::PrisonJoinedOmic(_) => match &history.roster().joined {
            Some(joined) => Err(Refusal::new(
                Rule::AlreadyOnOmic,
                format!(
                    "{code} has already joined OMiC, with go-live date {}.",
                    joined.go_live_date.format("%-d %B %Y")
                ),
            )),
            None => Ok(()),
        },
        PrisonEvent::PrisonOmicDateCorrected(_) => Ok(()),
        PrisonEvent::PomRegistered(new) => match roster.poms.get(&new.staff_id) {
            Some(pom) => Err(Refusal::new(
                Rule::PomAlreadyRegistered,
                format!(
                    "Staff id {} is already on the roster of {code}, as {}. Change the details or the status instead.",
                    new.staff_id, pom.name
                ),
            )),
            None => Ok(()),
        },
        PrisonEvent::PomDetailsChanged(changed) => {
            let pom = registered(changed.staff_id)?;
            let differs = changed.name.as_ref().is_some_and(|name| *name != pom.name)
                || changed.kind.is_some_and(|kind| kind != pom.kind)
                || changed.working_pattern.is_some_and(|pattern| pattern != pom.working_pattern)
                || changed.email.is_some() && changed.email != pom.email;
            refuse_unchanged(code, pom, differs)
        }
        PrisonEvent::PomStatusChanged(changed) => {
            let pom = registered(changed.staff_id)?;
            let differs =
                changed.status != pom.status || changed.returns_on != pom.returns_on || changed.reason != pom.reason;
            refuse_unchanged(code, pom, differs)
        }
    }
}

fn refuse_unchanged(code: &PrisonCode, pom: &RosterPom, differs: bool) -> Result<(), Refusal> {
    if differs {
        return Ok(());
    }
    Err(Refusal::new(
        Rule::NothingChanged,
        format!("This is what the roster of {code} already says of {} (staff id {}).", pom.name, pom.staff_id),
    ))
}
