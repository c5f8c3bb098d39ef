//! Splits headings into words.

use domain::text::is_invisible;

/// Whether a text has these words in a row.
pub fn contains_phrase(text: &str, phrase: &str) -> bool {
    format!(" {text} ").contains(&format!(" {phrase} "))
}

/// The words of a heading, with the spellings of "number" made one: `NOMS No.`, `NOMSNumber` and
/// `noms  number` are the same.
pub fn words(heading: &str) -> Vec<String> {
    let mut spaced = String::with_capacity(heading.len() + 8);
    let mut before = ' ';
    let letters: Vec<char> = heading.chars().collect();
    for (index, &letter) in letters.iter().enumerate() {
        // `StaffId` and `NOMSNumber` are two words, `POMs` and `NOMIS` are one.
        let lower_follows = |distance: usize| letters.get(index + distance).is_some_and(|next| next.is_lowercase());
        let starts_word = before.is_lowercase() || before.is_uppercase() && lower_follows(1) && lower_follows(2);
        match letter {
            // Such as a soft hyphen, in the middle of a word.
            _ if !letter.is_whitespace() && is_invisible(letter) => continue,
            _ if letter.is_uppercase() && starts_word => {
                spaced.push(' ');
                spaced.extend(letter.to_lowercase());
            }
            _ if letter.is_alphanumeric() => spaced.extend(letter.to_lowercase()),
            '\'' | '’' => {}
            '#' => spaced.push_str(" no "),
            '&' => spaced.push_str(" and "),
            _ => spaced.push(' '),
        }
        before = letter;
    }
    spaced
        .split_whitespace()
        .map(|word| match word {
            "number" | "num" | "nos" | "numbers" | "nr" => "no",
            "identifier" => "id",
            "reference" => "ref",
            "dt" => "date",
            "tier1" => "tier",
            word => word,
        })
        .map(str::to_owned)
        .collect()
}
