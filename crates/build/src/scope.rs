//! What variables mean: global arguments, a stage's arguments and its environment.

use std::collections::BTreeMap;

use crate::dockerfile::{Dockerfile, Instruction, expand};

/// `--build-arg` names that RUN sees without an ARG, that no history shows and no cache key holds.
pub const PREDEFINED: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The platform images are built for and on: this machine's.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What is known before the first FROM.
#[derive(Clone, Debug)]
pub struct Globals {
    build_args: BTreeMap<String, String>,
    /// Global ARGs and the platform's.
    values: BTreeMap<String, String>,
}

impl Globals {
    /// Evaluates the ARG instructions before the first FROM.
    ///
    /// # Errors
    /// The line of the ARG, and what is wrong with it.
    pub fn new(
        file: &Dockerfile,
        build_args: &BTreeMap<String, String>,
        target: &str,
    ) -> Result<Self, (usize, String)> {
        let architecture = architecture();
        let mut values = BTreeMap::new();
        for side in ["BUILD", "TARGET"] {
            values.insert(format!("{side}PLATFORM"), format!("linux/{architecture}"));
            values.insert(format!("{side}OS"), "linux".to_owned());
            values.insert(format!("{side}ARCH"), architecture.to_owned());
            values.insert(format!("{side}VARIANT"), String::new());
        }
        values.insert("TARGETSTAGE".to_owned(), target.to_owned());
        let mut globals = Self { build_args: build_args.clone(), values };
        for step in &file.global_args {
            let Instruction::Arg(args) = &step.instruction else { continue };
            for (name, default) in args {
                let error = |error| (step.span.line, error);
                let value = match (globals.build_args.get(name), default) {
                    (Some(value), _) => Some(value.clone()),
                    (None, Some(word)) => {
                        let lookup = |name: &str| globals.values.get(name).cloned();
                        Some(expand::word(word, file.escape, &lookup).map_err(error)?)
                    }
                    (None, None) => None,
                };
                if let Some(value) = value {
                    globals.values.insert(name.clone(), value);
                }
            }
        }
        Ok(globals)
    }

    /// The value FROM lines see.
    pub fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }

    /// The value of `ARG name` in a stage; `default` is already expanded.
    fn stage_value(&self, name: &str, default: Option<String>) -> Option<String> {
        self.build_args.get(name).cloned().or(default).or_else(|| self.get(name))
    }

    /// `--build-arg`s that no ARG consumed, which the user surely did not mean.
    pub fn unconsumed<'a>(&'a self, file: &Dockerfile) -> Vec<&'a str> {
        let stages = file.stages.iter().flat_map(|stage| &stage.steps);
        let declared = |name: &str| {
            stages.clone().chain(&file.global_args).any(|step| match &step.instruction {
                Instruction::Arg(args) => args.iter().any(|(arg, _)| arg == name),
                _ => false,
            })
        };
        let names = self.build_args.keys().map(String::as_str);
        names.filter(|name| !PREDEFINED.contains(name) && !declared(name)).collect()
    }
}

/// The arguments of one stage, in the order they were declared.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    declared: Vec<(String, Option<String>)>,
}

impl Arguments {
    /// `ARG name[=default]`, the default expanded.
    pub fn declare(&mut self, globals: &Globals, name: &str, default: Option<String>) {
        let value = globals.stage_value(name, default);
        self.declared.retain(|(declared, _)| declared != name);
        self.declared.push((name.to_owned(), value));
    }

    /// The argument's value, when it is declared and has one.
    pub fn get(&self, name: &str) -> Option<String> {
        self.declared.iter().find(|(declared, _)| declared == name)?.1.clone()
    }

    /// `NAME=value` of those that have a value and are not in `env` as well, which goes before them.
    pub fn environment(&self, env: &[String]) -> Vec<String> {
        self.declared
            .iter()
            .filter(|(name, _)| env_value(env, name).is_none())
            .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={value}")))
            .collect()
    }

    /// The predefined arguments given to the build and not declared here.
    pub fn predefined(&self, globals: &Globals, env: &[String]) -> Vec<String> {
        PREDEFINED
            .iter()
            .filter(|name| env_value(env, name).is_none() && self.get(name).is_none())
            .filter_map(|name| globals.build_args.get(*name).map(|value| format!("{name}={value}")))
            .collect()
    }
}

/// The value of `name` in a list of `NAME=value`.
pub fn env_value<'a>(env: &'a [String], name: &str) -> Option<&'a str> {
    env.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// Sets `name` in a list of `NAME=value`, in its old place if it had one.
pub fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let pair = format!("{name}={value}");
    match env.iter_mut().find(|old| old.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))) {
        Some(old) => *old = pair,
        None => env.push(pair),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;

    fn globals(text: &str, args: &[(&str, &str)]) -> Globals {
        let args = args.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Globals::new(&parse(text).unwrap(), &args, "default").unwrap()
    }

    #[test]
    fn global_arguments() {
        let text = "ARG A=1\nARG B=${A}2\nARG C\nARG D=$TARGETARCH\nFROM x";
        let plain = globals(text, &[]);
        assert_eq!(plain.get("B").as_deref(), Some("12"));
        assert_eq!(plain.get("C"), None);
        assert_eq!(plain.get("D").as_deref(), Some(architecture()));
        let given = globals(text, &[("A", "x"), ("C", "y")]);
        assert_eq!((given.get("B").as_deref(), given.get("C").as_deref()), (Some("x2"), Some("y")));
        let bad = Globals::new(&parse("ARG A=\"\nFROM x").unwrap(), &BTreeMap::new(), "x").unwrap_err();
        assert_eq!(bad.0, 1);
    }

    #[test]
    fn stage_arguments() {
        let globals = globals("ARG G=g\nFROM x", &[("P", "p"), ("http_proxy", "proxy"), ("ODD", "")]);
        let mut args = Arguments::default();
        args.declare(&globals, "G", None);
        args.declare(&globals, "P", Some("default".into()));
        args.declare(&globals, "E", Some("e".into()));
        args.declare(&globals, "U", None);
        assert_eq!(args.get("G").as_deref(), Some("g"));
        assert_eq!(args.get("P").as_deref(), Some("p"));
        let env = vec!["E=env".to_owned()];
        assert_eq!(args.environment(&env), ["G=g", "P=p"]);
        assert_eq!(args.predefined(&globals, &env), ["http_proxy=proxy"]);
        args.declare(&globals, "G", Some("own".into()));
        assert_eq!(args.get("G").as_deref(), Some("own"));
        assert_eq!(globals.unconsumed(&parse("FROM x\nARG P").unwrap()), ["ODD"]);
    }
}
