//! The data of an event with its codes in words, for a person who does not know them: "No staff" in
//! the place of `NO_STAFF`.
//!
//! A code is a variant of an enum, and the serializer is told of variants as such. So a tier, the
//! code of a prison, and a text that somebody wrote stay as they are, whatever they look like.

use domain::Event;
use serde::{
    Serialize, Serializer,
    ser::{Error as _, Impossible, SerializeMap, SerializeSeq, SerializeStruct},
};
use serde_json::{Error, Map, Value, value};

/// The data of an event with its codes in words.
///
/// # Panics
/// The event's data is no JSON object, which the type of no event allows.
pub(super) fn data_in_words(event: &Event) -> Value {
    event.serialize_data(ReadableCodes).expect("an event's data is JSON")
}

/// The words of a code: `POM_INACTIVE` is "POM inactive".
fn words(code: &str) -> String {
    let word = |word: &str| match word {
        "pom" | "com" | "isp" | "thd" | "mappa" => word.to_ascii_uppercase(),
        "rosh" => "RoSH".to_owned(),
        word => word.to_owned(),
    };
    let mut words = code.to_ascii_lowercase().split('_').map(word).collect::<Vec<_>>().join(" ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

/// Makes JSON of what events have: structs, lists, texts, numbers and variants without data.
struct ReadableCodes;

fn no_such_data<T>() -> Result<T, Error> {
    Err(Error::custom("no event has data of this form"))
}

macro_rules! as_in_other_json {
    ($($method:ident: $type:ty,)*) => {
        $(fn $method(self, value: $type) -> Result<Value, Error> {
            value::Serializer.$method(value)
        })*
    };
}

impl Serializer for ReadableCodes {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = List;
    type SerializeTuple = Impossible<Value, Error>;
    type SerializeTupleStruct = Impossible<Value, Error>;
    type SerializeTupleVariant = Impossible<Value, Error>;
    type SerializeMap = Members;
    type SerializeStruct = Members;
    type SerializeStructVariant = Impossible<Value, Error>;

    fn serialize_unit_variant(self, name: &'static str, _index: u32, code: &'static str) -> Result<Value, Error> {
        Ok(match name {
            // People know the release dates by these letters.
            "ReleaseDateName" => code.into(),
            _ => words(code).into(),
        })
    }

    as_in_other_json! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
        serialize_str: &str,
        serialize_bytes: &[u8],
    }

    fn serialize_none(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _name: &'static str, value: &T) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<Value, Error> {
        no_such_data()
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<List, Error> {
        Ok(List(Vec::new()))
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple, Error> {
        no_such_data()
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Self::SerializeTupleStruct, Error> {
        no_such_data()
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        no_such_data()
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Members, Error> {
        Ok(Members::default())
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Members, Error> {
        Ok(Members::default())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        no_such_data()
    }
}

/// A list that is being made.
struct List(Vec<Value>);

impl SerializeSeq for List {
    type Ok = Value;
    type Error = Error;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
        self.0.push(value.serialize(ReadableCodes)?);
        Ok(())
    }

    fn end(self) -> Result<Value, Error> {
        Ok(self.0.into())
    }
}

/// An object that is being made.
#[derive(Default)]
struct Members {
    made: Map<String, Value>,
    /// The name of the next member.
    name: Option<String>,
}

impl SerializeMap for Members {
    type Ok = Value;
    type Error = Error;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Error> {
        let Value::String(name) = key.serialize(value::Serializer)? else { return no_such_data() };
        self.name = Some(name);
        Ok(())
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
        let Some(name) = self.name.take() else { return no_such_data() };
        self.made.insert(name, value.serialize(ReadableCodes)?);
        Ok(())
    }

    fn end(self) -> Result<Value, Error> {
        Ok(self.made.into())
    }
}

impl SerializeStruct for Members {
    type Ok = Value;
    type Error = Error;

    fn serialize_field<T: ?Sized + Serialize>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.made.insert(name.to_owned(), value.serialize(ReadableCodes)?);
        Ok(())
    }

    fn end(self) -> Result<Value, Error> {
        Ok(self.made.into())
    }
}

#[cfg(test)]
mod tests {
    use domain::{handover::HandoverReason, openapi::EVENT_SAMPLES, prisoner::OverrideReason};
    use serde_json::json;

    use super::*;

    fn event(sample: &Value) -> Event {
        let [stream, type_name] = ["stream", "type"].map(|member| sample[member].as_str().expect("a text"));
        Event::deserialize_data(&stream.parse().expect("a stream"), type_name, sample["data"].clone())
            .expect("an event")
    }

    /// Checks that two data differ in texts alone, and collects the texts that differ.
    fn differences(stored: &Value, told: &Value, found: &mut Vec<(String, String)>) {
        match (stored, told) {
            (Value::Object(stored), Value::Object(told)) => {
                assert!(stored.keys().eq(told.keys()), "{stored:?} {told:?}");
                stored.iter().zip(told).for_each(|((_, stored), (_, told))| differences(stored, told, found));
            }
            (Value::Array(stored), Value::Array(told)) => {
                assert_eq!(stored.len(), told.len());
                stored.iter().zip(told).for_each(|(stored, told)| differences(stored, told, found));
            }
            (Value::String(stored), Value::String(told)) if stored != told => {
                found.push((stored.clone(), told.clone()));
            }
            _ => assert_eq!(stored, told),
        }
    }

    #[test]
    fn the_codes_of_every_event_are_told_in_words_and_all_else_as_it_is() {
        let mut found = Vec::new();
        for line in EVENT_SAMPLES.lines().filter(|line| !line.is_empty()) {
            let sample: Value = serde_json::from_str(line).expect("a sample");
            let event = event(&sample);
            let stored = event.serialize_data(value::Serializer).expect("JSON");
            differences(&stored, &data_in_words(&event), &mut found);
        }
        found.sort_unstable();
        found.dedup();
        let told: Vec<_> = found.iter().map(|(stored, told)| (stored.as_str(), told.as_str())).collect();
        let expected = [
            ("CONTINUITY", "Continuity"),
            ("DELIUS", "Delius"),
            ("HIGH", "High"),
            ("LESS_THAN_10_MONTHS_TO_SERVE", "Less than 10 months to serve"),
            ("MENS_CLOSED", "Mens closed"),
            ("NEW_ADMISSION", "New admission"),
            ("NO_STAFF", "No staff"),
            ("OTHER", "Other"),
            ("POM_INACTIVE", "POM inactive"),
            ("PRISON", "Prison"),
            ("PROBATION", "Probation"),
            ("READMISSION_SWITCH_BOOKING", "Readmission switch booking"),
            ("ROSH", "RoSH"),
            ("SUITABILITY", "Suitability"),
            ("TRANSFERRED", "Transferred"),
            ("UNAVAILABLE", "Unavailable"),
            ("VERY_HIGH", "Very high"),
            ("early_allocation", "Early allocation"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_text_that_looks_like_a_code_stays_as_it_was_written() {
        let data = json!({"revision": 3, "reason": "NO_STAFF"});
        let sample = json!({"stream": "prisoner-A1234BC", "type": "EntryVoided", "data": data});
        assert_eq!(data_in_words(&event(&sample)), data);
    }

    #[test]
    fn abbreviations_keep_their_letters() {
        assert_eq!(words(OverrideReason::NoStaff.word()), "No staff");
        assert_eq!(words(HandoverReason::ComResponsibility.word()), "COM responsibility");
        assert_eq!(words(HandoverReason::RecallThdOver12Months.word()), "Recall THD over 12 months");
        assert_eq!(words("ROSH"), "RoSH");
    }
}
