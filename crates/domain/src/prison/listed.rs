//! The establishments of England and Wales, for the places where a prison is first named: a slip of
//! the pen there would begin another prison.
//!
//! Source: the prison register of HMPPS (`ministryofjustice/prison-register` on GitHub), the active
//! establishments of those of its migrations that were at hand, and for Millsike, which opened
//! later, the code that the services of HMPPS have for it. Read on 29 November 2026. The list may
//! lack an establishment: an operator then says that the prison is unlisted, and a later version of
//! this file has it.
//!
//! In Wales are the establishments that the register gives a Welsh name. The register has no
//! regions of the prison service, so the list has none.
//!
//! Transfers, releases, tiers and stored events are judged by the format of a code alone.

use crate::{identifier::PrisonCode, words::words};

/// The date of the list, as refusals say it.
pub const LIST_DATE: &str = "29 November 2026";

/// Code and name of each establishment, by code.
const ESTABLISHMENTS: &[(&str, &str)] = &[
    ("ACI", "Altcourse"),
    ("AGI", "Askham Grange"),
    ("ASI", "Ashfield"),
    ("AYI", "Aylesbury"),
    ("BAI", "Belmarsh"),
    ("BCI", "Buckley Hall"),
    ("BFI", "Bedford"),
    ("BLI", "Bristol"),
    ("BMI", "Birmingham"),
    ("BNI", "Bullingdon"),
    ("BRI", "Bure"),
    ("BSI", "Brinsford"),
    ("BWI", "Berwyn"),
    ("BXI", "Brixton"),
    ("BZI", "Bronzefield"),
    ("CDI", "Chelmsford"),
    ("CFI", "Cardiff"),
    ("CKI", "Cookham Wood"),
    ("CLI", "Coldingley"),
    ("CWI", "Channings Wood"),
    ("DAI", "Dartmoor"),
    ("DGI", "Dovegate"),
    ("DHI", "Drake Hall"),
    ("DMI", "Durham"),
    ("DNI", "Doncaster"),
    ("DTI", "Deerbolt"),
    ("DWI", "Downview"),
    ("EEI", "Erlestoke"),
    ("EHI", "Standford Hill"),
    ("ESI", "East Sutton Park"),
    ("EWI", "Eastwood Park"),
    ("EXI", "Exeter"),
    ("EYI", "Elmley"),
    ("FBI", "Forest Bank"),
    ("FDI", "Ford"),
    ("FEI", "Fosse Way"),
    ("FHI", "Foston Hall"),
    ("FKI", "Frankland"),
    ("FMI", "Feltham"),
    ("FNI", "Full Sutton"),
    ("FSI", "Featherstone"),
    ("FWI", "Five Wells"),
    ("GHI", "Garth"),
    ("GMI", "Guys Marsh"),
    ("GNI", "Grendon"),
    ("GTI", "Gartree"),
    ("HBI", "Hollesley Bay"),
    ("HCI", "Huntercombe"),
    ("HDI", "Hatfield"),
    ("HEI", "Hewell"),
    ("HHI", "Holme House"),
    ("HII", "Hindley"),
    ("HLI", "Hull"),
    ("HMI", "Humber"),
    ("HOI", "High Down"),
    ("HPI", "Highpoint"),
    ("HVI", "Haverigg"),
    ("ISI", "Isis"),
    ("IWI", "Isle of Wight"),
    ("KMI", "Kirkham"),
    ("KTI", "Kennet"),
    ("KVI", "Kirklevington Grange"),
    ("LCI", "Leicester"),
    ("LEI", "Leeds"),
    ("LFI", "Lancaster Farms"),
    ("LGI", "Lowdham Grange"),
    ("LHI", "Lindholme"),
    ("LII", "Lincoln"),
    ("LLI", "Long Lartin"),
    ("LNI", "Low Newton"),
    ("LPI", "Liverpool"),
    ("LTI", "Littlehey"),
    ("LWI", "Lewes"),
    ("LYI", "Leyhill"),
    ("MDI", "Moorland"),
    ("MHI", "Morton Hall"),
    ("MKI", "Millsike"),
    ("MRI", "Manchester"),
    ("MSI", "Maidstone"),
    ("MTI", "The Mount"),
    ("MWI", "Medway"),
    ("NHI", "New Hall"),
    ("NLI", "Northumberland"),
    ("NMI", "Nottingham"),
    ("NSI", "North Sea Camp"),
    ("NWI", "Norwich"),
    ("ONI", "Onley"),
    ("OWI", "Oakwood"),
    ("PBI", "Peterborough"),
    ("PDI", "Portland"),
    ("PFI", "Peterborough Female"),
    ("PNI", "Preston"),
    ("PRI", "Parc"),
    ("PVI", "Pentonville"),
    ("RCI", "Rochester"),
    ("RHI", "Rye Hill"),
    ("RNI", "Ranby"),
    ("RSI", "Risley"),
    ("SDI", "Send"),
    ("SFI", "Stafford"),
    ("SHI", "Stoke Heath"),
    ("SKI", "Stocken"),
    ("SLI", "Swaleside"),
    ("SNI", "Swinfen Hall"),
    ("SPI", "Spring Hill"),
    ("STI", "Styal"),
    ("SUI", "Sudbury"),
    ("SWI", "Swansea"),
    ("TCI", "Thorn Cross"),
    ("TSI", "Thameside"),
    ("UKI", "Usk"),
    ("UPI", "Prescoed"),
    ("VEI", "The Verne"),
    ("WCI", "Winchester"),
    ("WDI", "Wakefield"),
    ("WEI", "Wealstun"),
    ("WHI", "Woodhill"),
    ("WII", "Warren Hill"),
    ("WLI", "Wayland"),
    ("WMI", "Wymott"),
    ("WNI", "Werrington"),
    ("WRI", "Whitemoor"),
    ("WSI", "Wormwood Scrubs"),
    ("WTI", "Whatton"),
    ("WWI", "Wandsworth"),
    ("WYI", "Wetherby"),
];

/// Codes of the establishments in Wales. All others are in England.
const IN_WALES: [&str; 6] = ["BWI", "CFI", "PRI", "SWI", "UKI", "UPI"];

words! {
    /// A country with establishments of the prison service.
    Country {
        /// England.
        England => "ENGLAND",
        /// Wales.
        Wales => "WALES",
    }
}

/// An establishment of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Establishment {
    /// Its agency code.
    pub code: &'static str,
    /// Its name, without "HMP".
    pub name: &'static str,
    /// The country that it is in.
    pub country: Country,
}

/// The establishments of the list, by code.
pub fn establishments() -> impl Iterator<Item = Establishment> {
    ESTABLISHMENTS.iter().map(|&(code, name)| {
        let country = if IN_WALES.contains(&code) { Country::Wales } else { Country::England };
        Establishment { code, name, country }
    })
}

impl PrisonCode {
    /// The name of the establishment, where the list has it.
    #[must_use]
    pub fn listed_name(&self) -> Option<&'static str> {
        let index = ESTABLISHMENTS.binary_search_by_key(&self.as_str(), |(code, _)| code).ok()?;
        ESTABLISHMENTS.get(index).map(|(_, name)| *name)
    }

    /// The code of the establishment with this name, where the list has it. Letter case, spaces and
    /// punctuation make no difference.
    #[must_use]
    pub fn of_listed_name(name: &str) -> Option<Self> {
        let wanted = plain(name);
        let (code, _) = ESTABLISHMENTS.iter().find(|(_, name)| plain(name) == wanted)?;
        code.parse().ok()
    }

    /// The sentence that refuses to begin a prison which the list lacks, with the establishments
    /// whose codes differ in one letter.
    #[must_use]
    pub fn unlisted_sentence(&self) -> String {
        let differs_once = |code: &str| code.bytes().zip(self.as_str().bytes()).filter(|(a, b)| a != b).count() == 1;
        let near = ESTABLISHMENTS.iter().filter(|(code, _)| differs_once(code));
        let near: Vec<_> = near.map(|(code, name)| format!("{code} ({name})")).collect();
        let near = if near.is_empty() { String::new() } else { format!(" Near it are {}.", near.join(", ")) };
        format!("{self} is not in the list of prisons of {LIST_DATE}.{near}")
    }
}

/// A name without letter case, spaces and punctuation.
fn plain(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_holds_each_code_once() {
        assert!(ESTABLISHMENTS.is_sorted_by(|(one, _), (next, _)| one < next));
        for (code, name) in ESTABLISHMENTS {
            let code: PrisonCode = code.parse().expect("a prison code");
            assert_eq!(code.listed_name(), Some(*name));
            assert_eq!(PrisonCode::of_listed_name(&name.to_uppercase()), Some(code.clone()), "{name} is of one prison");
            assert!(!code.is_in_transit());
        }
    }

    #[test]
    fn six_establishments_are_in_wales() {
        let welsh = establishments().filter(|establishment| establishment.country == Country::Wales);
        let names: Vec<_> = welsh.map(|establishment| establishment.name).collect();
        assert_eq!(names, ["Berwyn", "Cardiff", "Parc", "Swansea", "Usk", "Prescoed"]);
        assert_eq!(establishments().count(), ESTABLISHMENTS.len());
    }

    #[test]
    fn a_name_that_the_list_lacks_is_of_no_prison() {
        let of_name = |name: &str| PrisonCode::of_listed_name(name).map(|code| code.to_string());
        assert_eq!(of_name("guy's  marsh").as_deref(), Some("GMI"));
        assert_eq!([of_name(""), of_name("Leed"), of_name("Leeds and Hull")], [None, None, None]);
    }

    #[test]
    fn a_code_that_the_list_lacks_is_refused_with_those_near_it() {
        let code: PrisonCode = "LEE".parse().expect("a prison code");
        assert_eq!(code.listed_name(), None);
        let sentence = code.unlisted_sentence();
        assert_eq!(sentence, "LEE is not in the list of prisons of 29 November 2026. Near it are LEI (Leeds).");
    }
}
