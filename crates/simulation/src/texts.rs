//! Words for a made-up country: invented names, places, and the texts that officers write.

use domain::prison::Estate;

use crate::random::Random;

const SURNAMES: &[&str] = &[
    "Abbott",
    "Adeyemi",
    "Ahmed",
    "Aldridge",
    "Ashworth",
    "Bains",
    "Barlow",
    "Begum",
    "Bennett",
    "Blackwood",
    "Bryant",
    "Byrne",
    "Carver",
    "Chaudhry",
    "Clegg",
    "Coulson",
    "Dalton",
    "Desai",
    "Doyle",
    "Eccles",
    "Ellison",
    "Farrow",
    "Fenwick",
    "Flynn",
    "Garland",
    "Gill",
    "Goodwin",
    "Hargreaves",
    "Haydock",
    "Hussain",
    "Ingham",
    "Iqbal",
    "Jarvis",
    "Kaur",
    "Keane",
    "Kowalski",
    "Lamb",
    "Larkin",
    "Lockwood",
    "Mahmood",
    "Marsden",
    "Mensah",
    "Nolan",
    "Novak",
    "Nwosu",
    "Oakley",
    "Okafor",
    "Osborne",
    "Parkin",
    "Patel",
    "Pickering",
    "Quigley",
    "Rahman",
    "Redfern",
    "Rhodes",
    "Sandhu",
    "Shah",
    "Sheldon",
    "Singh",
    "Sutcliffe",
    "Thackeray",
    "Tinsley",
    "Underhill",
    "Vaughan",
    "Wainwright",
    "Walsh",
    "Whitaker",
    "Yardley",
    "Yusuf",
    "Zielinski",
];

const FORENAMES: &[&str] = &[
    "Aisha",
    "Alison",
    "Amir",
    "Andrew",
    "Angela",
    "Bethan",
    "Callum",
    "Carol",
    "Chidi",
    "Claire",
    "Daniel",
    "David",
    "Deepa",
    "Dylan",
    "Elaine",
    "Emma",
    "Farah",
    "Gareth",
    "Grace",
    "Hannah",
    "Harpreet",
    "Helen",
    "Ian",
    "Imran",
    "Jack",
    "Jan",
    "Joanne",
    "Karen",
    "Katarzyna",
    "Kwame",
    "Laura",
    "Liam",
    "Louise",
    "Mark",
    "Megan",
    "Michael",
    "Nadia",
    "Naomi",
    "Neil",
    "Olivia",
    "Omar",
    "Paul",
    "Priya",
    "Rachel",
    "Rhys",
    "Robert",
    "Ruth",
    "Sam",
    "Sarah",
    "Simon",
    "Sofia",
    "Stephen",
    "Tariq",
    "Tracey",
    "Victoria",
    "William",
    "Yasmin",
    "Zoe",
];

const UNITS: &[(&str, &[&str])] = &[
    ("West Yorkshire", &["Leeds", "Bradford", "Wakefield", "Huddersfield"]),
    ("South Yorkshire", &["Sheffield", "Rotherham", "Doncaster"]),
    ("Greater Manchester", &["Salford", "Bolton", "Oldham", "Wigan", "Stockport"]),
    ("Lancashire", &["Preston", "Blackburn", "Lancaster"]),
    ("North East", &["Newcastle", "Sunderland", "Durham", "Teesside"]),
    ("East Midlands", &["Nottingham", "Leicester", "Derby", "Lincoln"]),
    ("West Midlands", &["Birmingham", "Coventry", "Wolverhampton", "Dudley"]),
    ("East of England", &["Norwich", "Ipswich", "Chelmsford", "Luton"]),
    ("London", &["Hackney", "Lambeth", "Croydon", "Ealing", "Barnet", "Newham"]),
    ("Kent, Surrey and Sussex", &["Maidstone", "Guildford", "Brighton"]),
    ("South Central", &["Reading", "Oxford", "Southampton"]),
    ("South West", &["Bristol", "Plymouth", "Exeter", "Swindon"]),
    ("Wales", &["Cardiff", "Swansea", "Newport", "Wrexham"]),
];

const CLOSED: &[&str] = &[
    "LEI", "MDI", "PVI", "BXI", "WWI", "LPI", "BMI", "CFI", "WDI", "HLI", "DMI", "NMI", "BLI", "EXI", "LII", "NWI",
    "PNI", "HMI", "BNI", "CWI", "DTI", "FSI", "GTI", "HOI", "ISI", "LTI", "LWI", "MRI", "OWI", "PBI", "RNI", "SLI",
    "TSI", "WSI", "WTI", "ACI", "ASI", "AYI", "BAI", "BCI", "BFI", "BHI", "BRI", "BSI", "BWI", "CDI", "CLI", "DAI",
    "DGI", "DNI", "EEI", "EHI", "EYI", "FBI", "FEI", "FKI", "FMI", "FNI", "FWI", "FYI", "GHI", "GMI", "GNI", "HCI",
    "HEI", "HHI", "HII", "HPI", "HVI", "IWI", "LCI", "LFI", "LGI", "LHI", "MHI", "MSI", "MTI", "NLI", "ONI", "PDI",
    "PRI", "RCI", "RHI", "RSI", "SFI", "SHI", "SKI", "SNI", "SWI", "UKI", "UPI", "VEI", "WCI", "WEI", "WHI", "WII",
    "WLI", "WMI", "WOI", "WRI", "WYI", "TCI", "LMI", "KTI",
];
const OPEN: &[&str] = &["KMI", "FDI", "HDI", "HBI", "LYI", "NSI", "SPI", "SUI", "KVI", "TKI"];
const WOMENS: &[&str] = &["FHI", "DWI", "NHI", "STI", "EWI", "LNI", "SDI", "DHI", "AGI", "ESI", "PFI", "CHI"];

/// The codes and estates of `count` prisons, in the order in which they join OMiC.
pub(crate) fn prisons(count: usize) -> Vec<(String, Estate)> {
    let (mut closed, mut open, mut womens) = (CLOSED.iter(), OPEN.iter(), WOMENS.iter());
    let mut made_up = 0;
    (0..count)
        .map(|index| {
            let known = match index % 12 {
                4 => womens.next().map(|code| (code, Estate::Womens)),
                7 => open.next().map(|code| (code, Estate::MensOpen)),
                _ => None,
            };
            match known.or_else(|| closed.next().map(|code| (code, Estate::MensClosed))) {
                Some((code, estate)) => ((*code).to_owned(), estate),
                None => {
                    // The code of a real establishment never ends in X.
                    made_up += 1;
                    (format!("{}{}X", letter((made_up - 1) / 26), letter(made_up - 1)), Estate::MensClosed)
                }
            }
        })
        .collect()
}

/// The largest number of prisons that have a code.
pub const PRISONS_MAX: usize = 600;

pub(crate) fn letter(index: usize) -> char {
    char::from(b'A' + u8::try_from(index % 26).unwrap_or(0))
}

/// "Surname, Forename".
pub(crate) fn name(random: &mut Random) -> String {
    format!("{}, {}", random.pick(SURNAMES), random.pick(FORENAMES))
}

/// The work e-mail address of a person.
pub(crate) fn email(name: &str, domain: &str) -> String {
    let (surname, forename) = name.split_once(", ").unwrap_or((name, "x"));
    format!("{}.{}@{domain}", forename.to_lowercase(), surname.to_lowercase())
}

/// A probation team and its local delivery unit.
pub(crate) fn team(random: &mut Random) -> (String, String) {
    let (unit, towns) = random.pick(UNITS);
    let town = random.pick(towns);
    (format!("{town} {}", letter(random.below(4))), (*unit).to_owned())
}

pub(crate) fn note(random: &mut Random) -> String {
    let (days, wing) = (random.between(3, 21), letter(random.below(8)));
    match random.below(10) {
        0 => format!("Please see within {days} working days of arrival."),
        1 => format!("Held on {wing} wing. Prefers to be seen in the morning."),
        2 => "Known to you from an earlier sentence.".to_owned(),
        3 => format!("Sentence plan is due in {days} days; OASys needs completing."),
        4 => "Does not read well; go through letters in person.".to_owned(),
        5 => format!("On {wing} wing, works in the kitchens until 14:00."),
        6 => "Family lives far away; ask about video visits.".to_owned(),
        7 => format!("Accredited programme starts in {days} days, plan meetings round it."),
        8 => "New to custody. Please explain what a POM does.".to_owned(),
        _ => format!("Next keyworker session in {days} days, come along if you can."),
    }
}

pub(crate) fn suitability(random: &mut Random) -> String {
    let years = random.between(2, 15);
    match random.below(4) {
        0 => "Worked well with this officer on an earlier sentence.".to_owned(),
        1 => format!("The officer has {years} years' experience of this kind of case."),
        2 => "Has asked for an officer of this kind and engages well.".to_owned(),
        _ => format!("Stable for {years} months; the case does not need the other kind of officer."),
    }
}

pub(crate) fn reallocation_reason(random: &mut Random) -> String {
    match random.below(6) {
        0 => format!("Moved to {} wing.", letter(random.below(8))),
        1 => "Caseloads evened out.".to_owned(),
        2 => "Officer works fewer hours from this month.".to_owned(),
        3 => "Relationship broke down; agreed at supervision.".to_owned(),
        4 => format!("Officer is away for {} weeks.", random.between(3, 16)),
        _ => "SimulatedCase needs an officer with programme experience.".to_owned(),
    }
}

pub(crate) fn other_detail(random: &mut Random) -> String {
    match random.below(4) {
        0 => format!("Agreed with the head of offender management for {} weeks.", random.between(2, 12)),
        1 => "Both teams asked for this at the case conference.".to_owned(),
        2 => "Interpreter works with this officer.".to_owned(),
        _ => format!("Remains so until the review in {} weeks.", random.between(2, 12)),
    }
}

pub(crate) fn void_reason(random: &mut Random) -> &'static str {
    one_of(
        random,
        &["Recorded on the wrong case.", "Wrong officer chosen.", "Entered twice.", "Meant for another prisoner."],
    )
}

pub(crate) fn absence(random: &mut Random) -> &'static str {
    one_of(random, &["Annual leave.", "Sick leave.", "Training course.", "Parental leave.", "Detached duty."])
}

pub(crate) fn departure(random: &mut Random) -> &'static str {
    one_of(
        random,
        &["Left the service.", "Moved to another prison.", "Moved to a community team.", "Career break.", "Retired."],
    )
}

fn one_of(random: &mut Random, texts: &[&'static str]) -> &'static str {
    texts[random.below(texts.len())]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_prison_has_a_code_of_its_own() {
        let codes: BTreeSet<String> = prisons(PRISONS_MAX).into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes.len(), PRISONS_MAX);
        for code in codes {
            assert!(code.parse::<domain::identifier::PrisonCode>().is_ok(), "{code}");
        }
    }
}
