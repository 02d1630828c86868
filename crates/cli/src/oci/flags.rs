//! Flags as Go programs read them: `--name value`, `--name=value`, one dash or two, and none after the first other word.

use super::error::OciError;

/// One flag a command knows.
pub struct Flag {
    pub name: &'static str,
    pub short: Option<char>,
    /// What its value is called in help; a switch has none.
    pub value: Option<&'static str>,
    pub about: &'static str,
}

impl Flag {
    /// One that takes a value.
    pub const fn value(name: &'static str, value: &'static str, about: &'static str) -> Self {
        Self { name, short: None, value: Some(value), about }
    }

    /// One that is there or not.
    pub const fn switch(name: &'static str, about: &'static str) -> Self {
        Self { name, short: None, value: None, about }
    }

    /// The same with a short name.
    pub const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }
}

/// What was typed.
#[derive(Debug, Default)]
pub struct Parsed {
    values: Vec<(&'static str, String)>,
    pub operands: Vec<String>,
}

impl Parsed {
    /// The last value of a flag.
    pub fn one(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    /// All values of a flag, in their order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values.iter().filter(move |(flag, _)| *flag == name).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on.
    pub fn is_set(&self, name: &'static str) -> Result<bool, OciError> {
        match self.one(name) {
            None | Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
            Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
            Some(value) => Err(OciError::Value { flag: name, value: value.to_owned() }),
        }
    }

    /// The number a flag gives.
    pub fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<Option<T>, OciError> {
        let parse =
            |value: &str| value.parse().map_err(|_| OciError::Value { flag: name, value: value.to_owned() });
        self.one(name).map(parse).transpose()
    }
}

/// Reads `words` by the table `flags`.
pub fn parse(flags: &[Flag], words: Vec<String>) -> Result<Parsed, OciError> {
    let mut parsed = Parsed::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let Some(text) = word.strip_prefix('-').filter(|text| !text.is_empty()) else {
            parsed.operands.push(word);
            break;
        };
        let text = text.strip_prefix('-').unwrap_or(text);
        if text.is_empty() {
            break;
        }
        let (name, given) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let named = |flag: &&Flag| {
            flag.name == name || flag.short.is_some_and(|short| name.chars().eq(std::iter::once(short)))
        };
        let flag = flags.iter().find(named).ok_or_else(|| OciError::UnknownFlag { flag: word.clone() })?;
        let value = match (given, flag.value) {
            (Some(value), _) => value,
            (None, None) => "true".to_owned(),
            (None, Some(_)) => words.next().ok_or(OciError::NoValue { flag: flag.name })?,
        };
        parsed.values.push((flag.name, value));
    }
    parsed.operands.extend(words);
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::value("bundle", "path", "").short('b'),
        Flag::switch("detach", "").short('d'),
        Flag::value("env", "list", "").short('e'),
    ];

    fn words(text: &str) -> Result<Parsed, OciError> {
        parse(FLAGS, text.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn flags_in_every_spelling() {
        for text in ["--bundle /b -d box", "-bundle=/b --detach=true box", "-b /b --detach -- box"] {
            let parsed = words(text).expect(text);
            assert_eq!(parsed.one("bundle"), Some("/b"), "{text}");
            assert!(parsed.is_set("detach").expect("a switch"), "{text}");
            assert_eq!(parsed.operands, ["box"], "{text}");
        }
    }

    #[test]
    fn nothing_after_the_first_operand_is_ours() {
        let parsed = words("-e A=1 -e B=2 box ls -d --bundle").expect("valid");
        assert_eq!(parsed.all("env").collect::<Vec<_>>(), ["A=1", "B=2"]);
        assert_eq!(parsed.operands, ["box", "ls", "-d", "--bundle"]);
        assert!(!parsed.is_set("detach").expect("a switch"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text| words(text).map(drop).expect_err(text).to_string();
        assert_eq!(error("--bundel x"), "flag provided but not defined: --bundel");
        assert_eq!(error("--bundle"), "flag needs an argument: --bundle");
        let odd = words("--detach=maybe").expect("parsed").is_set("detach").expect_err("no switch");
        assert_eq!(odd.to_string(), "invalid value \"maybe\" for flag --detach");
    }
}
