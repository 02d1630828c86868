//! Names of containers, volumes and networks: what is allowed, and random ones in Docker's manner.

/// Whether `name` matches `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub fn is_valid(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// Why `name` cannot be a volume's, in Docker's words.
pub(crate) fn invalid_volume(name: &str) -> String {
    if name.len() == 1 {
        return format!(
            "create {name}: volume name is too short, names should be at least two alphanumeric characters"
        );
    }
    format!(
        "create {name}: {name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are \
         allowed. If you intended to pass a host directory, use absolute path"
    )
}

const MOODS: [&str; 64] = [
    "admiring",
    "agitated",
    "amazing",
    "awesome",
    "blissful",
    "bold",
    "brave",
    "busy",
    "charming",
    "clever",
    "compassionate",
    "confident",
    "cool",
    "cranky",
    "crazy",
    "dazzling",
    "determined",
    "dreamy",
    "eager",
    "ecstatic",
    "elastic",
    "elated",
    "elegant",
    "epic",
    "exciting",
    "fervent",
    "festive",
    "flamboyant",
    "focused",
    "friendly",
    "frosty",
    "funny",
    "gallant",
    "gifted",
    "goofy",
    "gracious",
    "great",
    "happy",
    "hopeful",
    "hungry",
    "inspiring",
    "intelligent",
    "jolly",
    "jovial",
    "keen",
    "kind",
    "laughing",
    "loving",
    "lucid",
    "magical",
    "modest",
    "musing",
    "mystifying",
    "nifty",
    "nostalgic",
    "optimistic",
    "peaceful",
    "quirky",
    "relaxed",
    "serene",
    "sharp",
    "sleepy",
    "stoic",
    "wonderful",
];

const PEOPLE: [&str; 64] = [
    "agnesi",
    "archimedes",
    "babbage",
    "banach",
    "bardeen",
    "bell",
    "bohr",
    "boole",
    "brahmagupta",
    "carson",
    "cartwright",
    "chandrasekhar",
    "cori",
    "curie",
    "darwin",
    "dijkstra",
    "einstein",
    "elion",
    "engelbart",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "feynman",
    "franklin",
    "galileo",
    "gauss",
    "goldberg",
    "goodall",
    "hamilton",
    "hawking",
    "hodgkin",
    "hopper",
    "hypatia",
    "jackson",
    "johnson",
    "kalam",
    "kepler",
    "knuth",
    "kowalevski",
    "lamarr",
    "lamport",
    "leavitt",
    "liskov",
    "lovelace",
    "maxwell",
    "mclean",
    "meitner",
    "mendel",
    "mirzakhani",
    "newton",
    "nobel",
    "noether",
    "pasteur",
    "payne",
    "perlman",
    "ramanujan",
    "ritchie",
    "shannon",
    "tesla",
    "thompson",
    "torvalds",
    "turing",
    "wozniak",
];

/// A random name; `attempt` counts those that were taken, from the second one on a digit is added.
pub fn random(bytes: [u8; 3], attempt: u32) -> String {
    let (mood, person) = (MOODS[usize::from(bytes[0] % 64)], PEOPLE[usize::from(bytes[1] % 64)]);
    match attempt {
        0 => format!("{mood}_{person}"),
        n => format!("{mood}_{person}{}", u32::from(bytes[2]) + 256 * (n - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_names() {
        fn check(name: &str, valid: bool) {
            assert_eq!(is_valid(name), valid, "{name}");
        }
        check("web", true);
        check("a1_.-", true);
        check("w", false);
        check("-web", false);
        check("wéb", false);
        check("a/b", false);
        check("", false);
        check(&random([63, 63, 255], 3), true);
    }
}
