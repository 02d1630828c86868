use super::*;
use crate::RunNetwork;

/// The only instruction after `FROM a`.
#[track_caller]
fn one(line: &str) -> Instruction {
    let file = parse(&format!("FROM a\n{line}")).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(file.stages[0].steps.len(), 1, "{line}");
    file.stages[0].steps[0].instruction.clone()
}

#[track_caller]
fn fails(text: &str, line: usize, expected: &str) {
    let error = parse(text).expect_err(text);
    assert_eq!(error.span.line, line, "{text:?}: {error}");
    assert!(error.to_string().contains(expected), "{text:?}: {error}");
}

fn shell(text: &str) -> Command {
    Command::Shell(text.to_owned())
}

fn exec(words: &[&str]) -> Command {
    Command::Exec(words.iter().map(|word| (*word).to_owned()).collect())
}

#[test]
fn stages() {
    let file = parse("ARG V=1\nFROM --platform=$P base:$V AS Build\nRUN x\nFROM build\nfrom scratch as last")
        .unwrap();
    assert_eq!(file.global_args.len(), 1);
    assert_eq!(file.stages.len(), 3);
    let from = &file.stages[0].from;
    assert_eq!(
        (from.image.as_str(), from.platform.as_deref(), from.name.as_deref()),
        ("base:$V", Some("$P"), Some("build"))
    );
    assert_eq!(file.stages[2].from.name.as_deref(), Some("last"));
    assert_eq!(file.stages[0].steps[0].span, Span { line: 3, end_line: 3 });
    fails("", 1, "file with no instructions");
    fails("# only\n", 1, "file with no instructions");
    fails("ARG a\n", 1, "file with no instructions");
    fails("RUN x\nFROM a", 1, "no build stage in current context");
    fails("FROM", 1, "FROM requires at least one argument");
    fails("FROM a b", 1, "FROM requires either one or three arguments");
    fails("FROM a AS 1x", 1, "invalid name for build stage: \"1x\"");
    fails("FROM --x=1 a", 1, "unknown flag: --x");
}

#[test]
fn unknown_instructions() {
    fails("FROM a\n\nRUM x", 3, "unknown instruction: RUM (did you mean RUN?)");
    fails("FORM a", 1, "unknown instruction: FORM (did you mean FROM?)");
    fails("FROM a\nFROBNICATE x", 2, "unknown instruction: FROBNICATE");
    fails("FROM a\n{}", 2, "unknown instruction: {}");
}

#[test]
fn commands() {
    assert_eq!(one("CMD echo hi"), Instruction::Cmd(shell("echo hi")));
    assert_eq!(one("cmd [\"a\", \"b\"]"), Instruction::Cmd(exec(&["a", "b"])));
    assert_eq!(one("CMD [ \"$A\" = x ]"), Instruction::Cmd(shell("[ \"$A\" = x ]")));
    assert_eq!(one("CMD"), Instruction::Cmd(exec(&[])));
    assert_eq!(one("CMD []"), Instruction::Cmd(exec(&[])));
    assert_eq!(one("ENTRYPOINT [\"/x\"]"), Instruction::Entrypoint(exec(&["/x"])));
    assert_eq!(
        one("SHELL [\"/bin/bash\",\"-c\"]"),
        Instruction::Shell(vec!["/bin/bash".into(), "-c".into()])
    );
    fails("FROM a\nSHELL bash -c", 2, "SHELL requires the arguments to be in JSON form");
    fails("FROM a\nSHELL []", 2, "SHELL requires at least one argument");
    fails("FROM a\nCMD [1]", 2, "arrays must be comprised of strings only");
    fails("FROM a\nRUN []", 2, "RUN requires at least one argument");
    fails("FROM a\nRUN", 2, "RUN requires at least one argument");
}

#[test]
fn run() {
    let run = |line: &str| match one(line) {
        Instruction::Run(run) => run,
        other => panic!("{other:?}"),
    };
    assert_eq!(run("RUN a && \\\n  b").command, shell("a &&   b"));
    let full = run("RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t --network=none make -j");
    assert_eq!(
        (full.mounts.len(), full.network, full.command),
        (2, Some(RunNetwork::None), shell("make -j"))
    );
    assert_eq!(run("RUN --security=sandbox x").command, shell("x"));
    let doc = run("RUN <<EOF\necho a\n# kept\nEOF");
    assert_eq!((doc.command, doc.heredocs[0].content.as_str()), (shell("<<EOF"), "echo a\n# kept\n"));
    let two = run("RUN <<A cat >x && <<B cat >y\n1\nA\n2\nB");
    assert_eq!(two.heredocs.len(), 2);
    fails("FROM a\nRUN --security=insecure x", 2, "--security=insecure is not supported");
    fails("FROM a\nRUN --network=x y", 2, "unsupported network mode \"x\"");
    fails("FROM a\nRUN --network x", 2, "missing a value on flag: --network");
    assert_eq!(run("RUN --mount=type=ssh,id=one x").mounts.len(), 1);
    fails("FROM a\nRUN --mount=type=magic x", 2, "magic");
    fails("FROM a\nRUN --network=none --network=none x", 2, "duplicate flag specified: --network");
    fails("FROM a\nRUN --device=x y", 2, "--device is not supported");
    fails("FROM a\nRUN --wrong y", 2, "unknown flag: --wrong");
}

#[test]
fn copy() {
    let copy = |line: &str| match one(line) {
        Instruction::Copy(copy) | Instruction::Add(copy) => copy,
        other => panic!("{other:?}"),
    };
    let plain = copy("COPY a  b /c/");
    assert_eq!((plain.sources.len(), plain.destination.as_str()), (2, "/c/"));
    assert_eq!(copy("COPY [\"a b\", \"c d\"]").sources, ["a b"]);
    let full =
        copy("COPY --from=build --chown=a:b --chmod=755 --link --parents --exclude=*.o --exclude=x a b");
    assert_eq!(full.from.as_deref(), Some("build"));
    assert_eq!((full.chown.as_deref(), full.chmod.as_deref()), (Some("a:b"), Some("755")));
    assert!(full.link && full.parents);
    assert_eq!(full.exclude, ["*.o", "x"]);
    assert!(!copy("COPY --link=false a b").link);
    assert_eq!(copy("ADD a.tar /").sources, ["a.tar"]);
    let doc = copy("COPY <<a.txt b <<\"c\" /d/\n$x\na.txt\n$y\nc");
    assert_eq!((doc.sources, doc.heredocs.len()), (vec!["b".to_owned()], 2));
    assert!(doc.heredocs[0].expand && !doc.heredocs[1].expand);
    fails("FROM a\nCOPY x", 2, "COPY requires at least two arguments");
    fails("FROM a\nCOPY a <<b\nb", 2, "cannot accept a heredoc as a destination");
    fails("FROM a\nCOPY --from=$x a b", 2, "variable expansion is not supported for --from");
    fails("FROM a\nADD --from=x a b", 2, "unknown flag: --from");
    let fetched = copy("ADD --checksum=$SUM --unpack=true https://h/a /");
    assert_eq!((fetched.checksum.as_deref(), fetched.unpack), (Some("$SUM"), Some(true)));
    fails("FROM a\nCOPY --checksum=x a b", 2, "unknown flag: --checksum");
    fails("FROM a\nADD --keep-git-dir a b", 2, "--keep-git-dir is not supported");
    fails("FROM a\nCOPY --link=maybe a b", 2, "expecting boolean value for flag --link, not: maybe");
}

#[test]
fn metadata() {
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    assert_eq!(one("ENV a=b c='d e'"), Instruction::Env(pairs(&[("a", "b"), ("c", "'d e'")])));
    assert_eq!(one("ENV a b c"), Instruction::Env(pairs(&[("a", "b c")])));
    assert_eq!(one("LABEL a.b=\"c d\""), Instruction::Label(pairs(&[("a.b", "\"c d\"")])));
    assert_eq!(
        one("ARG a b=1 c=\"2 3\""),
        Instruction::Arg(vec![
            ("a".into(), None),
            ("b".into(), Some("1".into())),
            ("c".into(), Some("\"2 3\"".into()))
        ])
    );
    assert_eq!(one("EXPOSE 80 443/tcp"), Instruction::Expose("80 443/tcp".into()));
    assert_eq!(one("VOLUME /a /b"), Instruction::Volume(vec!["/a".into(), "/b".into()]));
    assert_eq!(one("VOLUME [\"/a b\"]"), Instruction::Volume(vec!["/a b".into()]));
    assert_eq!(one("WORKDIR /a b"), Instruction::Workdir("/a b".into()));
    assert_eq!(one("USER a:b"), Instruction::User("a:b".into()));
    assert_eq!(one("STOPSIGNAL SIGTERM"), Instruction::StopSignal("SIGTERM".into()));
    assert_eq!(one("MAINTAINER A <b>"), Instruction::Maintainer("A <b>".into()));
    fails("FROM a\nENV a", 2, "ENV must have two arguments");
    fails("FROM a\nENV a=1 b", 2, "can't find = in \"b\"");
    fails("FROM a\nUSER a b", 2, "USER requires exactly one argument");
    fails("FROM a\nVOLUME [\"\"]", 2, "can not be an empty string");
    fails("FROM a\nEXPOSE", 2, "EXPOSE requires at least one argument");
    fails("FROM a\nENV --x=1 a=b", 2, "unknown flag: --x");
}

#[test]
fn healthchecks() {
    assert_eq!(one("HEALTHCHECK NONE"), Instruction::Healthcheck(Healthcheck::None));
    let check = one(
        "HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=200ms --start-interval=2s --retries=3 CMD curl x",
    );
    assert_eq!(
        check,
        Instruction::Healthcheck(Healthcheck::Command {
            command: shell("curl x"),
            options: HealthOptions {
                interval: Some(Duration::from_secs(90)),
                timeout: Some(Duration::from_millis(1500)),
                start_period: Some(Duration::from_millis(200)),
                start_interval: Some(Duration::from_secs(2)),
                retries: Some(3),
            }
        })
    );
    fails("FROM a\nHEALTHCHECK CMD", 2, "missing command after HEALTHCHECK CMD");
    fails("FROM a\nHEALTHCHECK NONE x", 2, "takes no arguments");
    fails("FROM a\nHEALTHCHECK TCP x", 2, "unknown type \"TCP\" in HEALTHCHECK (try CMD)");
    fails("FROM a\nHEALTHCHECK --interval=5 CMD x", 2, "invalid duration for --interval");
    fails("FROM a\nHEALTHCHECK --interval=1us CMD x", 2, "cannot be less than 1ms");
    fails("FROM a\nHEALTHCHECK --retries=-1 CMD x", 2, "--retries must be a number");
}

#[test]
fn triggers() {
    assert_eq!(one("ONBUILD run x  y"), Instruction::Onbuild("run x  y".into()));
    assert_eq!(one("ONBUILD RUN <<E\na\nE"), Instruction::Onbuild("RUN <<E\na\nE".into()));
    let step = parse_trigger("RUN <<E\na\nE", '\\').unwrap();
    assert!(matches!(step.instruction, Instruction::Run(run) if run.heredocs[0].content == "a\n"));
    fails("FROM a\nONBUILD ONBUILD RUN x", 2, "chaining ONBUILD");
    fails("FROM a\nONBUILD FROM x", 2, "FROM isn't allowed as an ONBUILD trigger");
    fails("FROM a\nONBUILD MAINTAINER x", 2, "MAINTAINER isn't allowed");
    fails("FROM a\nONBUILD WRONG x", 2, "unknown instruction: WRONG");
    fails("FROM a\nONBUILD COPY x", 2, "COPY requires at least two arguments");
    fails("FROM a\nONBUILD", 2, "ONBUILD requires at least one argument");
}

#[test]
fn errors_name_the_line_range() {
    let error = parse("FROM a\n\n# c\nRUM a \\\n  b \\\n  c\nUSER x").unwrap_err();
    assert_eq!((error.lines().as_str(), error.instruction.as_deref()), ("4-6", Some("RUM")));
}

#[test]
fn escape_directive_applies_everywhere() {
    let file = parse("# escape=`\nFROM a\nENV a=b` c d=C:\\x\nRUN dir `\n  c:\\").unwrap();
    assert_eq!(file.escape, '`');
    assert_eq!(
        file.stages[0].steps[0].instruction,
        Instruction::Env(vec![("a".into(), "b` c".into()), ("d".into(), "C:\\x".into())])
    );
    assert!(
        matches!(&file.stages[0].steps[1].instruction, Instruction::Run(run) if run.command == shell("dir   c:\\"))
    );
}

proptest::proptest! {
    /// No text, and no text made of a Dockerfile's own pieces, makes the parser or the expansion panic.
    #[test]
    fn nothing_panics(text in "(?s).{0,200}", pieces in proptest::collection::vec(0..PIECES.len(), 0..40)) {
        let pieces: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        for text in [text, pieces] {
            let _ = parse(&text);
            let _ = parse(&format!("FROM a\n{text}"));
            let lookup = |name: &str| name.len().is_multiple_of(2).then(|| name.repeat(2));
            let _ = expand::word(&text, '\\', &lookup);
            let _ = expand::words(&text, '`', &lookup);
            let _ = expand::text(&text, '\\', &lookup);
            let _ = crate::ignore::Ignore::parse(&text).map(|ignore| ignore.excludes("a/b/c.d"));
        }
    }
}

const PIECES: [&str; 40] = [
    "FROM ",
    "RUN ",
    "COPY ",
    "ENV ",
    "ARG ",
    "ONBUILD ",
    "HEALTHCHECK ",
    "--mount=",
    "type=bind,",
    "target=",
    "\n",
    "\\\n",
    "\\",
    "`",
    "'",
    "\"",
    "$",
    "${",
    "}",
    ":-",
    ":?",
    "#",
    "##",
    "%",
    "/",
    "//",
    "*",
    "?",
    "[",
    "]",
    "<<",
    "<<-",
    "EOF",
    "\t",
    " ",
    "=",
    "a",
    "é",
    "# escape=`\n",
    "{",
];
