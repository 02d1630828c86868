//! Stages to a graph: what the target needs, and where every `FROM` and `--from` leads.

use std::collections::{BTreeMap, HashMap};

use crate::dockerfile::{self, Dockerfile, Instruction, MountKind, Span, Stage, Step, expand};
use crate::error::StepError;
use crate::request::NamedContext;
use crate::scope::{Globals, architecture};

/// The stages to run, in the order of the file; a stage only depends on earlier ones.
#[derive(Debug)]
pub struct Plan {
    pub stages: Vec<PlannedStage>,
    /// The index in `stages` of the one that becomes the image.
    pub target: usize,
}

impl Plan {
    /// How many instructions there are in the stages before `stage`, FROM among them.
    pub fn instructions_before(&self, stage: usize) -> usize {
        self.stages.iter().take(stage).map(|stage| stage.steps.len() + 1).sum()
    }
}

/// One stage to run.
#[derive(Debug)]
pub struct PlannedStage {
    /// `builder`, or `stage-1` without a name; `None` when the file has just one stage.
    pub label: Option<String>,
    pub base: Base,
    pub span: Span,
    /// The FROM line.
    pub text: String,
    /// ONBUILD triggers of the base, then the stage's own.
    pub steps: Vec<Step>,
    /// Where the words of `--from` and `from=` lead.
    pub sources: HashMap<String, SourceRef>,
}

/// What a stage starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    Scratch,
    /// An index in [`Plan::stages`].
    Stage(usize),
    Image(String),
}

/// Where files come from, other than the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceRef {
    Stage(usize),
    Image(String),
    /// A named context's.
    Directory(String),
}

/// A plan that cannot be made, and the line that says why.
#[derive(Debug)]
pub struct PlanError {
    pub span: Span,
    pub text: String,
    pub error: StepError,
}

/// The index of the stage called `target`: a name, or a number.
pub fn find_target(file: &Dockerfile, target: Option<&str>) -> Option<usize> {
    let Some(target) = target else { return file.stages.len().checked_sub(1) };
    let name = target.to_ascii_lowercase();
    let by_name = file.stages.iter().rposition(|stage| stage.from.name.as_deref() == Some(name.as_str()));
    by_name.or_else(|| target.parse().ok().filter(|index| *index < file.stages.len()))
}

/// The stage's name as steps show it.
pub fn label(file: &Dockerfile, index: usize) -> String {
    file.stages[index].from.name.clone().unwrap_or_else(|| format!("stage-{index}"))
}

/// Plans the stages that `target` needs; `triggers` returns the ONBUILD instructions of an image.
///
/// # Errors
/// The first line, from the end of the file, that names something that cannot be.
pub fn plan(
    file: &Dockerfile,
    globals: &Globals,
    target: usize,
    contexts: &BTreeMap<String, NamedContext>,
    triggers: &mut dyn FnMut(&str) -> Result<Vec<String>, StepError>,
) -> Result<Plan, PlanError> {
    let mut needed: HashMap<usize, PlannedStage> = HashMap::new();
    let mut wanted = vec![target];
    while let Some(index) = wanted.pop() {
        if needed.contains_key(&index) {
            continue;
        }
        let stage = &file.stages[index];
        let fail = |error| PlanError { span: stage.span, text: stage.text.clone(), error };
        let base = base(file, globals, index, contexts).map_err(fail)?;
        let inherited = match &base {
            Base::Scratch => Vec::new(),
            Base::Stage(base) => {
                wanted.push(*base);
                own_triggers(&file.stages[*base])
            }
            Base::Image(name) => triggers(name).map_err(fail)?,
        };
        let mut steps = Vec::with_capacity(inherited.len() + stage.steps.len());
        for trigger in inherited {
            let step = dockerfile::parse_trigger(&trigger, file.escape)
                .map_err(|error| fail(StepError::Invalid(format!("ONBUILD {trigger}: {error}"))))?;
            steps.push(Step { span: stage.span, text: format!("ONBUILD {}", step.text), ..step });
        }
        steps.extend(stage.steps.iter().cloned());
        let mut sources = HashMap::new();
        for step in &steps {
            for from in froms(&step.instruction) {
                let source = source(file, index, from, contexts).map_err(|error| PlanError {
                    span: step.span,
                    text: step.text.clone(),
                    error,
                })?;
                if let SourceRef::Stage(index) = source {
                    wanted.push(index);
                }
                sources.insert(from.to_owned(), source);
            }
        }
        let label = (file.stages.len() > 1).then(|| label(file, index));
        let planned =
            PlannedStage { label, base, span: stage.span, text: stage.text.clone(), steps, sources };
        needed.insert(index, planned);
    }
    Ok(renumber(needed, target))
}

/// From indices in the file to indices in the plan.
fn renumber(needed: HashMap<usize, PlannedStage>, target: usize) -> Plan {
    let mut stages: Vec<(usize, PlannedStage)> = needed.into_iter().collect();
    stages.sort_by_key(|(index, _)| *index);
    let order: HashMap<usize, usize> =
        stages.iter().enumerate().map(|(position, (index, _))| (*index, position)).collect();
    let mut stages: Vec<PlannedStage> = stages.into_iter().map(|(_, stage)| stage).collect();
    for stage in &mut stages {
        if let Base::Stage(index) = &mut stage.base {
            *index = order[index];
        }
        for source in stage.sources.values_mut() {
            if let SourceRef::Stage(index) = source {
                *index = order[index];
            }
        }
    }
    Plan { stages, target: order[&target] }
}

fn base(
    file: &Dockerfile,
    globals: &Globals,
    index: usize,
    contexts: &BTreeMap<String, NamedContext>,
) -> Result<Base, StepError> {
    let from = &file.stages[index].from;
    let expanded = |word: &str| expand::word(word, file.escape, &|name| globals.get(name));
    if let Some(platform) = &from.platform {
        check_platform(&expanded(platform).map_err(StepError::Invalid)?)?;
    }
    let name = expanded(&from.image).map_err(StepError::Invalid)?;
    if name.is_empty() {
        return Err(StepError::Invalid(format!("base name ({}) should not be blank", from.image)));
    }
    match contexts.get(&name) {
        Some(NamedContext::Image(image)) => return Ok(Base::Image(image.clone())),
        Some(NamedContext::Dir(_) | NamedContext::Repository(_)) => {
            return Err(StepError::Unsupported(format!("a stage from the directory {name}")));
        }
        None => {}
    }
    if let Some(stage) = earlier_stage(file, index, &name) {
        return Ok(Base::Stage(stage));
    }
    Ok(if name == "scratch" { Base::Scratch } else { Base::Image(name) })
}

fn check_platform(platform: &str) -> Result<(), StepError> {
    let own = architecture();
    let alias = |arch: &str| match arch {
        "x86_64" | "x86-64" => "amd64".to_owned(),
        "aarch64" | "arm64/v8" => "arm64".to_owned(),
        other => other.to_owned(),
    };
    let platform = platform.to_ascii_lowercase();
    let architecture = platform.strip_prefix("linux/").unwrap_or(&platform);
    if platform.is_empty() || platform == "linux" || alias(architecture) == own {
        return Ok(());
    }
    Err(StepError::Unsupported(format!("platform {platform} (this machine is linux/{own})")))
}

fn earlier_stage(file: &Dockerfile, index: usize, name: &str) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    file.stages[..index].iter().rposition(|stage| stage.from.name.as_deref() == Some(name.as_str()))
}

fn source(
    file: &Dockerfile,
    index: usize,
    from: &str,
    contexts: &BTreeMap<String, NamedContext>,
) -> Result<SourceRef, StepError> {
    match contexts.get(from) {
        Some(NamedContext::Image(image)) => return Ok(SourceRef::Image(image.clone())),
        Some(NamedContext::Dir(_) | NamedContext::Repository(_)) => {
            return Ok(SourceRef::Directory(from.to_owned()));
        }
        None => {}
    }
    if let Some(stage) = earlier_stage(file, index, from) {
        return Ok(SourceRef::Stage(stage));
    }
    match from.parse::<usize>() {
        Ok(stage) if stage < index => Ok(SourceRef::Stage(stage)),
        Ok(_) => Err(StepError::Invalid(format!("invalid from flag value {from}: no such earlier stage"))),
        Err(_) if from == "scratch" => {
            Err(StepError::Invalid("invalid from flag value scratch: it has no files".to_owned()))
        }
        Err(_) => Ok(SourceRef::Image(from.to_owned())),
    }
}

fn own_triggers(stage: &Stage) -> Vec<String> {
    let triggers = stage.steps.iter().filter_map(|step| match &step.instruction {
        Instruction::Onbuild(trigger) => Some(trigger.clone()),
        _ => None,
    });
    triggers.collect()
}

/// The `--from` and `from=` words of an instruction.
pub fn froms(instruction: &Instruction) -> Vec<&str> {
    match instruction {
        Instruction::Copy(copy) => copy.from.as_deref().into_iter().collect(),
        Instruction::Run(run) => run
            .mounts
            .iter()
            .filter_map(|mount| match &mount.kind {
                MountKind::Bind { from, .. } => from.as_deref(),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

impl PlannedStage {
    /// How many numbered steps the stage has: its base, and every instruction that may make a layer.
    pub fn numbered(&self) -> usize {
        usize::from(self.base != Base::Scratch)
            + self.steps.iter().filter(|step| step.instruction.makes_layer()).count()
    }

    /// The error of the step that takes files from the image `name`.
    pub fn blame(&self, name: &str, error: StepError) -> PlanError {
        let step = self.steps.iter().find(|step| froms(&step.instruction).contains(&name));
        let (span, text) = step.map_or((self.span, &self.text), |step| (step.span, &step.text));
        PlanError { span, text: text.clone(), error }
    }

    /// `[builder 2/5] RUN make`.
    pub fn step_name(&self, number: usize, text: &str) -> String {
        let label = self.label.as_ref().map(|label| format!("{label} ")).unwrap_or_default();
        format!("[{label}{number}/{}] {text}", self.numbered())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts() -> BTreeMap<String, NamedContext> {
        let image = NamedContext::Image("other:1".to_owned());
        let directory = NamedContext::Dir("/srv".into());
        BTreeMap::from([("swap".to_owned(), image), ("dir".to_owned(), directory)])
    }

    fn planned(text: &str, target: Option<&str>) -> Result<Plan, PlanError> {
        let file = dockerfile::parse(text).unwrap();
        let globals = Globals::new(&file, &BTreeMap::new(), "default").unwrap();
        let target = find_target(&file, target).expect("the target exists");
        plan(&file, &globals, target, &contexts(), &mut |image| {
            Ok(if image == "trigger" { vec!["COPY --from=tools /a /b".to_owned()] } else { Vec::new() })
        })
    }

    /// `label:base` of each stage.
    #[track_caller]
    fn check(text: &str, target: Option<&str>, expected: &[&str]) {
        let plan = planned(text, target).unwrap();
        let got: Vec<_> = plan
            .stages
            .iter()
            .map(|stage| {
                let base = match &stage.base {
                    Base::Scratch => "scratch".to_owned(),
                    Base::Stage(index) => format!("#{index}"),
                    Base::Image(name) => name.clone(),
                };
                format!("{}:{base}", stage.label.as_deref().unwrap_or("-"))
            })
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn only_what_the_target_needs() {
        check("FROM a", None, &["-:a"]);
        check("FROM a\nFROM b", None, &["stage-1:b"]);
        check("FROM a AS x\nFROM b AS y\nFROM X AS z", None, &["x:a", "z:#0"]);
        check("FROM a AS x\nFROM b AS y\nFROM c\nCOPY --from=y / /", None, &["y:b", "stage-2:c"]);
        check("FROM a AS x\nFROM b AS y\nFROM c\nCOPY --from=0 / /", None, &["x:a", "stage-2:c"]);
        check("FROM a AS x\nFROM b AS y\nFROM c", Some("Y"), &["y:b"]);
        check("FROM a AS x\nFROM b AS y\nFROM c", Some("0"), &["x:a"]);
        check("FROM a AS x\nFROM b\nRUN --mount=from=x,target=/m true", None, &["x:a", "stage-1:b"]);
        check("FROM a AS tools\nFROM trigger", None, &["tools:a", "stage-1:trigger"]);
        check(
            "FROM scratch AS p\nONBUILD COPY --from=q /a /\nFROM b AS q\nFROM p",
            None,
            &["p:scratch", "q:b", "stage-2:#0"],
        );
        check("ARG V=1\nFROM a:$V", None, &["-:a:1"]);
        assert!(find_target(&dockerfile::parse("FROM a").unwrap(), Some("nope")).is_none());
    }

    #[test]
    fn named_contexts_go_before_stages_and_images() {
        check("FROM swap", None, &["-:other:1"]);
        check("FROM a AS swap\nFROM swap", None, &["stage-1:other:1"]);
        let plan =
            planned("FROM a AS dir\nFROM b\nCOPY --from=dir /x /\nCOPY --from=swap /y /", None).unwrap();
        let [stage] = plan.stages.as_slice() else { panic!("{plan:?}") };
        assert_eq!(stage.sources["dir"], SourceRef::Directory("dir".to_owned()));
        assert_eq!(stage.sources["swap"], SourceRef::Image("other:1".to_owned()));
        let error = planned("FROM dir", None).unwrap_err().error.to_string();
        assert_eq!(error, "a stage from the directory dir is not supported");
    }

    #[test]
    fn triggers_go_first() {
        let plan = planned("FROM a AS tools\nFROM trigger\nRUN x", None).unwrap();
        let steps: Vec<_> = plan.stages[1].steps.iter().map(|step| step.text.as_str()).collect();
        assert_eq!(steps, ["ONBUILD COPY --from=tools /a /b", "RUN x"]);
        assert_eq!(plan.stages[1].step_name(2, "x"), "[stage-1 2/3] x");
        assert_eq!(plan.stages[1].sources["tools"], SourceRef::Stage(0));
    }

    #[test]
    fn errors_name_their_line() {
        let fails = |text, line, expected: &str| {
            let error = planned(text, None).unwrap_err();
            assert_eq!(error.span.line, line);
            assert!(error.error.to_string().contains(expected), "{}", error.error);
        };
        fails("FROM $X", 1, "base name ($X) should not be blank");
        fails("FROM --platform=linux/s390x a", 1, "platform linux/s390x");
        fails("FROM a\nFROM b\nCOPY --from=1 / /", 3, "invalid from flag value 1");
        fails("FROM \"a", 1, "double-quote");
    }
}
