//! JSON objects of somebody else's: what is not ours keeps its place and its text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

/// An object's members in their order, each as it was written.
#[derive(Default)]
pub struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    /// The member `name` as a `T`; `None` when there is none or it is null.
    pub fn get<'a, T: Deserialize<'a>>(&'a self, name: &str) -> serde_json::Result<Option<T>> {
        match self.0.iter().find(|(key, _)| key == name) {
            Some((_, value)) => serde_json::from_str(value.get()),
            None => Ok(None),
        }
    }

    /// Replaces the member `name` where it stands, or adds it at the end.
    pub fn set(&mut self, name: &str, value: &impl Serialize) -> serde_json::Result<()> {
        let value = serde_json::value::to_raw_value(value)?;
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
        Ok(())
    }

    /// Removes the members `condemned` names; returns whether there were any.
    pub fn remove(&mut self, condemned: impl Fn(&str) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|(key, _)| !condemned(key));
        self.0.len() < before
    }

    /// The first name that `wanted` accepts.
    pub fn find(&self, wanted: impl Fn(&str) -> bool) -> Option<&str> {
        self.0.iter().map(|(key, _)| key.as_str()).find(|key| wanted(key))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    // Of two members with one name the last one counts, as it does for Docker.
                    members.retain(|(known, _)| *known != key);
                    members.push((key, value));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// An object to be written with all objects in it indented alike; arrays stay as they were.
pub struct Indented<'a> {
    object: &'a Object,
    depth: u8,
}

impl<'a> Indented<'a> {
    /// Deeper than this an object stays as it was, too.
    const DEEPEST: u8 = 16;

    pub fn new(object: &'a Object) -> Self {
        Self { object, depth: 0 }
    }
}

impl Serialize for Indented<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.object.0.len()))?;
        for (key, value) in &self.object.0 {
            match serde_json::from_str(value.get()) {
                Ok(object) if self.depth < Self::DEEPEST => {
                    map.serialize_entry(key, &Indented { object: &object, depth: self.depth + 1 })?;
                }
                _ => map.serialize_entry(key, value)?,
            }
        }
        map.end()
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_place_and_their_text() {
        let text = r#"{"z":[1,  2],"a":{"y":1.50,"b":"\u00e4"},"n":null,"z2":12345678901234567890123}"#;
        let mut object: Object = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), text);
        assert_eq!(object.get::<Object>("n").unwrap().map(|_| ()), None);
        object.set("a", &7).unwrap();
        object.set("new", &"x").unwrap();
        assert!(object.remove(|name| name == "n"));
        let expected = r#"{"z":[1,  2],"a":7,"z2":12345678901234567890123,"new":"x"}"#;
        assert_eq!(serde_json::to_string(&object).unwrap(), expected);
    }

    #[test]
    fn of_two_members_with_one_name_the_last_counts() {
        let object: Object = serde_json::from_str(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(object.get::<u8>("a").unwrap(), Some(3));
    }
}
