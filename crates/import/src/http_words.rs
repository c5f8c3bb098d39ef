//! Sentences of the reading in the words of the HTTP API: where the command line says `--map`, a
//! caller has the parameter `map`.

/// The options of the command line that the sentences name, each with a parameter of its name.
const PARAMETERS: [&str; 3] = ["pom-kind", "sheet", "map"];

/// A sentence with parameters in the place of options.
#[must_use]
pub fn in_words_of_http(text: &str) -> String {
    PARAMETERS.iter().fold(text.to_owned(), |text, name| text.replace(&format!("--{name}"), &format!("`{name}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_named_as_a_parameter() {
        let said = "The sheet `Old` has 2 cases too and was not read: --sheet \"Old\" reads it; --map, --pom-kind.";
        let told = "The sheet `Old` has 2 cases too and was not read: `sheet` \"Old\" reads it; `map`, `pom-kind`.";
        assert_eq!(in_words_of_http(said), told);
    }
}
