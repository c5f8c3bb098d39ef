//! Reads names of people as `Surname, Forename`. A name that is not understood is left as it was
//! written.

use domain::text::is_invisible;

use super::unwrapped;

/// A name as the ledger would keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonName {
    /// The name: `Surname, Forename` where that could be told, else as written.
    pub text: String,
    /// Whether it could not be told which part is the surname.
    pub is_unclear: bool,
}

/// The length in bytes of the longest text that is looked at as a name. The ledger takes shorter
/// ones only.
const NAME_LEN_MAX: usize = 4_000;

const TITLES: &[&str] = &[
    "MR",
    "MRS",
    "MS",
    "MISS",
    "MX",
    "DR",
    "PROF",
    "PROFESSOR",
    "SIR",
    "DAME",
    "REV",
    "REVD",
    "REVEREND",
    "SGT",
    "SUPT",
    "CAPT",
    "INSP",
    "CPL",
    "BSC",
    "MSC",
    "PHD",
    "MBE",
    "OBE",
];

/// Grades that no name has, in any spelling.
const GRADES: &[&str] = &["PSO", "SPO", "POM", "HOMD", "NPS", "HMPS", "HMPPS", "HMP"];

/// Grades that are also names, so that only capitals are a grade.
const GRADES_IN_CAPITALS: &[&str] = &["PO", "SO", "CM", "OS", "OM", "PRO", "COM"];

/// Grades of several words.
const GRADE_PHRASES: &[&[&str]] = &[
    &["PROBATION", "SERVICE", "OFFICER"],
    &["PRISON", "OFFENDER", "MANAGER"],
    &["SENIOR", "PROBATION", "OFFICER"],
    &["OFFENDER", "SUPERVISOR"],
    &["OFFENDER", "MANAGER"],
    &["PROBATION", "OFFICER"],
    &["PRISON", "OFFICER"],
    &["SENIOR", "OFFICER"],
    &["SUPERVISING", "OFFICER"],
    &["CUSTODIAL", "MANAGER"],
    &["OFFICER"],
];

/// Words that begin a surname of several words, or go on with it.
const PARTICLES: &[&str] = &[
    "VAN", "VON", "DER", "DEN", "DE", "DA", "DO", "DOS", "DAS", "DI", "DEL", "DELLA", "DU", "LA", "LE", "LOS", "LAS",
    "ZU", "ZUM", "ZUR", "BIN", "IBN", "BINT", "AL", "EL", "TER", "TEN", "'T", "’T", "ST", "ST.", "SAINT", "AP", "AB",
    "UD",
];

/// Particles that are forenames, too, where they come first: `Al Smith`.
const FORENAMES: &[&str] = &["AL", "AB"];

/// Reads a name from one cell.
#[must_use]
pub fn person_name(text: &str) -> PersonName {
    if text.len() > NAME_LEN_MAX {
        return PersonName { text: text.to_owned(), is_unclear: true };
    }
    let written = tidy(text);
    let unclear = || PersonName { text: written.clone(), is_unclear: true };
    let clear = |text: String| PersonName { text, is_unclear: false };
    let Some(bare) = without_brackets(&written) else { return unclear() };
    let parts: Vec<Vec<&str>> = bare
        .split(',')
        .map(|part| without_titles(part.split_whitespace().collect(), &bare))
        .filter(|part| !part.is_empty())
        .collect();
    if parts.iter().flatten().any(|word| !is_word_of_name(word)) {
        return unclear();
    }
    match parts.as_slice() {
        // Nothing but titles and grades.
        [] => unclear(),
        [surname, forename] => clear(format!("{}, {}", surname.join(" "), forename.join(" "))),
        [words] if words.len() == 1 && (bare.contains(',') || !words[0].contains('.')) => clear(words.join(" ")),
        // `Jane Smith, NPS` and `De Souza, Mrs`.
        [_] if bare.contains(',') => unclear(),
        [words] => {
            let words = apart_initials(words);
            match surname_of(&words) {
                Some(surname) => {
                    let forenames: Vec<&str> = words
                        .iter()
                        .enumerate()
                        .filter(|(at, _)| !surname.contains(at))
                        .map(|(_, word)| *word)
                        .collect();
                    let surname = words[surname].join(" ");
                    clear(if forenames.is_empty() { surname } else { format!("{surname}, {}", forenames.join(" ")) })
                }
                None => unclear(),
            }
        }
        _ => unclear(),
    }
}

/// Joins a surname and a forename that are in two cells.
#[must_use]
pub fn name_of_parts(surname: &str, forename: &str) -> PersonName {
    let without_comma = |text: &str| tidy(text).trim_end_matches(',').to_owned();
    person_name(&format!("{}, {}", without_comma(surname), without_comma(forename)))
}

/// A name without the marks around it, with single spaces, and without characters that cannot be
/// seen. Joiners stay, which are part of Persian names.
fn tidy(text: &str) -> String {
    let unseen =
        |letter: char| !letter.is_whitespace() && is_invisible(letter) && !matches!(letter, '\u{200c}' | '\u{200d}');
    let seen: String = unwrapped(text).chars().filter(|letter| !unseen(*letter)).collect();
    let seen = match seen.strip_prefix('\'') {
        // An apostrophe before a text is how spreadsheet programs mark it as one.
        Some(rest) if rest.starts_with(char::is_uppercase) => rest,
        _ => &seen,
    };
    seen.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ,", ",")
}

/// A name without what is in brackets; `None` if a bracket has no other.
fn without_brackets(text: &str) -> Option<String> {
    let mut bare = String::with_capacity(text.len());
    let mut open = None;
    for letter in text.chars() {
        match (open, letter) {
            (None, '(') => open = Some(')'),
            (None, '[') => open = Some(']'),
            (None, ')' | ']') => return None,
            (Some(close), letter) if close == letter => {
                open = None;
                bare.push(' ');
            }
            (Some(_), _) => {}
            (None, letter) => bare.push(letter),
        }
    }
    open.is_none().then_some(bare)
}

/// Takes titles, grades and telephone numbers off both ends of a part of a name.
fn without_titles<'a>(mut words: Vec<&'a str>, whole: &str) -> Vec<&'a str> {
    let is_shouted = !whole.chars().any(char::is_lowercase);
    loop {
        let upper: Vec<String> =
            words.iter().map(|word| word.trim_matches(['.', '-', ':']).to_uppercase().replace('.', "")).collect();
        let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
        let starts = |phrase: &&&[&str]| upper.starts_with(phrase);
        let ends = |phrase: &&&[&str]| upper.ends_with(phrase);
        let is_extra = |at: usize| {
            let is_grade_in_capitals = GRADES_IN_CAPITALS.contains(&upper[at])
                && !words[at].contains(char::is_lowercase)
                && (!is_shouted || upper[at] == "PO");
            let is_always_extra = |list: &[&str]| list.contains(&upper[at]);
            upper[at].is_empty() || is_always_extra(TITLES) || is_always_extra(GRADES) || is_grade_in_capitals
        };
        if let Some(phrase) = GRADE_PHRASES.iter().find(starts) {
            words.drain(..phrase.len());
        } else if let Some(phrase) = GRADE_PHRASES.iter().find(ends) {
            words.truncate(words.len() - phrase.len());
        } else if !words.is_empty() && is_extra(0) {
            words.remove(0);
        } else if !words.is_empty() && is_extra(words.len() - 1) {
            words.pop();
        } else if upper.len() > 2 && upper[upper.len() - 2] == "BAND" {
            words.truncate(words.len() - 2);
        } else if upper.len() > 1 && is_telephone_digits(upper[upper.len() - 1]) {
            words.pop();
        } else {
            return words;
        }
    }
}

fn is_telephone_digits(word: &str) -> bool {
    word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'+')
}

/// Whether a word may be part of a name: letters, with hyphens, apostrophes and full stops.
fn is_word_of_name(word: &str) -> bool {
    word.chars().any(char::is_alphabetic)
        && word.chars().all(|letter| {
            letter.is_alphabetic()
                || is_invisible(letter)
                || is_combining(letter)
                || matches!(letter, '-' | '‐' | '\'' | '’' | '‘' | '`' | '.')
        })
        && !word.eq_ignore_ascii_case("and")
}

fn is_combining(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}')
}

/// `J.Smith` is two words.
fn apart_initials<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let mut apart = Vec::with_capacity(words.len());
    for word in words {
        let initials = word
            .char_indices()
            .take_while(|(at, letter)| if at % 2 == 0 { letter.is_ascii_uppercase() } else { *letter == '.' });
        // Whole pairs of a letter and a full stop.
        let len = initials.count() / 2 * 2;
        if len > 0 && len < word.len() {
            apart.extend([&word[..len], &word[len..]]);
        } else {
            apart.push(*word);
        }
    }
    apart
}

/// The words of the surname in a name without a comma; `None` if that cannot be told.
fn surname_of(words: &[&str]) -> Option<std::ops::Range<usize>> {
    let len = words.len();
    let particles = |from: usize| words[from..].iter().take_while(|word| is_particle(word)).count();
    if len == 1 {
        return Some(0..1);
    }
    // `Smith J`, `van der Berg J R`; `J Smith`.
    let last_initials = words.iter().rev().take_while(|word| is_initials(word)).count();
    let first_initials = words.iter().take_while(|word| is_initials(word)).count();
    // `Smith JR` and `Amy NG`.
    let is_initials_or_name = |word: &&str| is_shouted(word) && word.chars().count() == 2 && !is_particle(word);
    if first_initials == len || words.iter().any(is_initials_or_name) {
        return None;
    }
    // `Mc Donald Ian` and `O NEILL Grace`, written apart; `Jane Smith Jr`.
    let is_apart = |word: &&str| ["O", "Mc", "Mac", "MC", "MAC"].contains(word);
    let is_junior = |word: &str| ["Jr", "Jr.", "Jnr", "Sr", "Sr.", "Snr"].contains(&word);
    if words[..len - 1].iter().any(is_apart) || is_junior(words[len - 1]) {
        return None;
    }
    let is_one_surname = |from: usize, to: usize| to - from == 1 || from + particles(from) + 1 == to;
    if first_initials == 0 && last_initials > 0 {
        let surname = 0..len - last_initials;
        return is_one_surname(0, surname.end).then_some(surname);
    }
    // `DE SOUZA Maria`, `Maria DE SOUZA`.
    let shouted = |word: &&&str| is_shouted(word) && !is_initials(word);
    let first_shouted = words.iter().take_while(shouted).count();
    let last_shouted = words.iter().rev().take_while(shouted).count();
    if first_shouted < len && last_shouted < len {
        // `DE Souza Maria` and `AL Smith`: only a part of the surname is in capitals, or another
        // word is.
        let is_all_particles = |shouted: &[&str]| shouted.iter().all(|word| is_particle(word));
        match (first_shouted, last_shouted) {
            (0, 0) => {}
            (first, 0) if is_all_particles(&words[..first]) => return None,
            (0, last) if is_all_particles(&words[len - last..]) => return None,
            (first, 0) => return Some(0..first),
            (0, last) => {
                let from = words[..len - last].iter().rev().take_while(|word| is_particle(word)).count();
                return Some(len - last - from..len);
            }
            _ => return None,
        }
    }
    // `van der Berg Jan`, `De Souza`.
    let first_particles = particles(0);
    if first_particles > 0 && !(first_particles == 1 && is_forename(words[0])) {
        let is_lower = words[0].starts_with(char::is_lowercase);
        return match len - first_particles {
            1 if is_lower => Some(0..len),
            2 if is_lower => Some(0..first_particles + 1),
            _ => None,
        };
    }
    // `Jan van der Berg`.
    if let Some(first) = words.iter().skip(1).position(|word| is_particle(word)).map(|at| at + 1)
        && first + 1 < len
    {
        return is_one_surname(first, len).then_some(first..len);
    }
    // `MacLeod Iain`.
    match (is_clan_name(words[0]), is_clan_name(words[len - 1])) {
        (true, false) => (len == 2).then_some(0..1),
        // `Smith-Jones Amy` or `Mary-Ann Smith`.
        (false, false) if words[0].contains('-') && !words[len - 1].contains('-') => None,
        _ => Some(len - 1..len),
    }
}

/// One letter, or letters with full stops: `J`, `J.`, `J.R.`.
fn is_initials(word: &str) -> bool {
    let letters = word.chars().filter(|letter| letter.is_alphabetic()).count();
    let is_upper = word.chars().all(|letter| letter.is_uppercase() || letter == '.');
    letters == 1 || is_upper && letters <= 3 && word.matches('.').count() >= letters - 1
}

/// A word in capitals, such as `O’NEILL` or `McDONALD`.
fn is_shouted(word: &str) -> bool {
    let rest = ["Mc", "Mac"].into_iter().find_map(|prefix| word.strip_prefix(prefix)).unwrap_or(word);
    rest.chars().filter(|letter| letter.is_alphabetic()).count() > 1 && !rest.chars().any(char::is_lowercase)
}

fn is_particle(word: &str) -> bool {
    PARTICLES.contains(&word.to_uppercase().as_str())
}

fn is_forename(word: &str) -> bool {
    !word.starts_with(char::is_lowercase) && FORENAMES.contains(&word.to_uppercase().as_str())
}

/// A word that is a surname by its form: `MacLeod`, `McDonald`, `O'Neill`.
fn is_clan_name(word: &str) -> bool {
    ["Mac", "Mc", "O'", "O’", "D'", "D’", "d'", "d’"]
        .into_iter()
        .any(|prefix| word.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(char::is_uppercase)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[(&str, &str)]) {
        for (written, expected) in names {
            let name = PersonName { text: (*expected).to_owned(), is_unclear: false };
            assert_eq!(person_name(written), name, "{written}");
        }
    }

    #[test]
    fn names_are_turned_to_surname_first() {
        check(&[
            ("Okafor, Grace", "Okafor, Grace"),
            ("  Okafor ,Grace ", "Okafor, Grace"),
            ("smith, john", "smith, john"),
            ("Grace Okafor", "Okafor, Grace"),
            ("Mary Ann Okafor", "Okafor, Mary Ann"),
            ("OKAFOR Grace", "OKAFOR, Grace"),
            ("Grace OKAFOR", "OKAFOR, Grace"),
            ("GRACE OKAFOR", "OKAFOR, GRACE"),
            ("Okafor", "Okafor"),
            ("Okafor,", "Okafor"),
            ("McDonald", "McDonald"),
            ("MacLeod Iain", "MacLeod, Iain"),
            ("d'Arcy Jane", "d'Arcy, Jane"),
            ("Jane Smith-Jones", "Smith-Jones, Jane"),
            ("Iain MacLeod", "MacLeod, Iain"),
            ("Mary-Ann O'Neill", "O'Neill, Mary-Ann"),
            ("O’NEILL Grace", "O’NEILL, Grace"),
            ("McDONALD Iain", "McDONALD, Iain"),
            ("O'Neill-Smith, Zoë", "O'Neill-Smith, Zoë"),
            ("\u{200e}Okafor\u{200b}, Gra\u{ad}ce", "Okafor, Grace"),
            ("=\"Okafor, Grace\"", "Okafor, Grace"),
            ("'Okafor, Grace", "Okafor, Grace"),
        ]);
    }

    #[test]
    fn a_lone_initial_is_a_forename() {
        check(&[
            ("G Okafor", "Okafor, G"),
            ("J.Smith", "Smith, J."),
            ("J.R. Smith", "Smith, J.R."),
            ("J R Smith", "Smith, J R"),
            ("Smith J", "Smith, J"),
            ("Smith J.", "Smith, J."),
            ("SMITH J", "SMITH, J"),
            ("smith j", "smith, j"),
            ("patel r", "patel, r"),
            ("Ng A", "Ng, A"),
            ("van der Berg J", "van der Berg, J"),
            ("J van der Berg", "van der Berg, J"),
        ]);
    }

    #[test]
    fn particles_stay_with_the_surname() {
        check(&[
            ("DE SOUZA Maria", "DE SOUZA, Maria"),
            ("Maria DE SOUZA", "DE SOUZA, Maria"),
            ("VAN DER BERG Jan", "VAN DER BERG, Jan"),
            ("Jan van der Berg", "van der Berg, Jan"),
            ("Jan van der BERG", "van der BERG, Jan"),
            ("van der Berg Jan", "van der Berg, Jan"),
            ("van der Berg, Jan", "van der Berg, Jan"),
            ("van der Berg", "van der Berg"),
            ("Maria De La Cruz", "De La Cruz, Maria"),
            ("MARIA DE SOUZA", "DE SOUZA, MARIA"),
            ("Mary St John", "St John, Mary"),
            ("Al Smith", "Smith, Al"),
        ]);
    }

    #[test]
    fn titles_and_grades_are_no_part_of_a_name() {
        check(&[
            ("Mr J. Smith", "Smith, J."),
            ("Sgt Pepper", "Pepper"),
            ("Supt. Smith", "Smith"),
            ("Jane Smith BSc", "Smith, Jane"),
            ("Mr Smith", "Smith"),
            ("PO Smith", "Smith"),
            ("PO SMITH", "SMITH"),
            ("P.O. Smith", "Smith"),
            ("Officer Smith", "Smith"),
            ("Prison Officer Jane Smith", "Smith, Jane"),
            ("Jane Smith (NPS)", "Smith, Jane"),
            ("Smith, Jane (0.5)", "Smith, Jane"),
            ("Smith (NPS), Jane", "Smith, Jane"),
            ("Dr Jane Smith", "Smith, Jane"),
            ("Smith, Jane, Dr", "Smith, Jane"),
            ("Smith, Dr Jane", "Smith, Jane"),
            ("Smith, Miss", "Smith"),
            ("Jane Smith - PSO", "Smith, Jane"),
            ("Smith, John Band 4", "Smith, John"),
            ("Smith, John 07700 900123", "Smith, John"),
            ("So, Min", "So, Min"),
            ("Po, Anna", "Po, Anna"),
            ("Anna Po", "Po, Anna"),
        ]);
    }

    #[test]
    fn a_name_that_is_not_understood_is_left_as_it_was_written() {
        for name in [
            "Smith / Jones",
            "Jane Smith and John Doe",
            "Smith & Jones",
            "Smith, Jane, BA, MA",
            "Jane Smith (NPS",
            "De Souza",
            "DE SOUZA MARIA",
            "Jane Smith, NPS",
            "Smith JR",
            "Jane Smith Jr",
            "O NEILL Grace",
            "Mc Donald Ian",
            "O Neill",
            "JR Smith",
            "Amy NG",
            "DE Souza Maria",
            "VAN DER Berg Jan",
            "AL Smith",
            "Smith DE",
            "Jan VAN DER",
            "Smith-Jones Amy",
            "J R",
            "Team 4",
            "jane.smith@justice.gov.uk",
            "Mr",
        ] {
            assert_eq!(person_name(name), PersonName { text: name.to_owned(), is_unclear: true }, "{name}");
        }
    }

    #[test]
    fn a_name_in_two_cells_is_joined() {
        assert_eq!(name_of_parts("DE SOUZA", "Maria").text, "DE SOUZA, Maria");
        assert_eq!(name_of_parts("Smith,", "Mr John").text, "Smith, John");
    }
}
