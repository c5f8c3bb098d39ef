//! Enums whose variants are words: in stored events, in JSON, in the views and on the command line.
//!
//! One declaration gives the variants, all of them in order, and the word of each. The schemas of
//! the OpenAPI document are made of it, under the feature `openapi`; the comments of the views are
//! checked against it.

/// An enum of words.
pub trait Words: Copy + 'static {
    /// Every variant, in the order of the declaration.
    const ALL: &'static [Self];

    /// The variant's word; part of the published format.
    fn word(self) -> &'static str;
}

/// The words of an enum as a list in a sentence: `PRISON or PROBATION`.
#[must_use]
pub fn alternatives<W: Words>() -> String {
    let words: Vec<_> = W::ALL.iter().map(|variant| variant.word()).collect();
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Declares an enum of words.
///
/// A word is a `tt` and not a `literal`: the derive of the OpenAPI schema passes over a `serde`
/// attribute whose literal comes out of a macro, and would list the names of the variants.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident => $word:tt,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every variant, in the order of the declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The variant's word; part of the published format.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl $crate::words::Words for $name {
            const ALL: &'static [Self] = Self::ALL;

            fn word(self) -> &'static str {
                self.word()
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{officer::PomKind, prisoner::OverrideReason};

    /// The macro makes both of one word, so one enum stands for all.
    #[test]
    fn a_word_is_written_as_it_is_declared() {
        for variant in OverrideReason::ALL {
            assert_eq!(serde_json::to_value(variant).expect("JSON"), variant.word());
        }
    }

    #[test]
    fn words_are_listed_as_in_a_sentence() {
        assert_eq!(alternatives::<PomKind>(), "PRISON or PROBATION");
        assert_eq!(alternatives::<OverrideReason>(), "SUITABILITY, NO_STAFF, CONTINUITY or OTHER");
    }
}
