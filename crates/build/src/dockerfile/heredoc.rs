//! `<<NAME` in RUN, COPY and ADD.

/// One heredoc: how it was announced, and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The terminator, which is also the file's name in COPY.
    pub name: String,
    /// `false` when the name was quoted: variables in the body stay as they are.
    pub expand: bool,
    /// `<<-`: leading tabs of each line are removed.
    pub strip_tabs: bool,
    /// The body as written, each line with its newline.
    pub content: String,
}

impl Heredoc {
    /// The body as the shell or the copied file sees it.
    pub fn body(&self) -> String {
        if !self.strip_tabs {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// Whether the instruction that `text` starts with may carry heredocs.
pub fn allowed_in(text: &str) -> bool {
    let mut words = text.split_whitespace().map(str::to_ascii_uppercase);
    let first = words.next();
    let instruction = if first.as_deref() == Some("ONBUILD") { words.next() } else { first };
    matches!(instruction.as_deref(), Some("RUN" | "COPY" | "ADD"))
}

/// The heredocs announced in `text`, in order, with empty bodies.
pub fn find_all(text: &str, escape: char) -> Vec<Heredoc> {
    words(text, escape).iter().filter_map(|word| announce(word)).collect()
}

/// Parses one word such as `<<EOF`, `3<<-"EOF"`; `None` when it is something else, or more than one word.
pub fn announce(word: &str) -> Option<Heredoc> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (strip_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.contains('<') || words(rest, '\\').len() != 1 {
        return None;
    }
    let name: String = rest.chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
    let expand = name.len() == rest.len();
    (!name.is_empty()).then_some(Heredoc { name, expand, strip_tabs, content: String::new() })
}

/// Splits at blanks outside quotes, keeping the quotes: `<<` inside a quoted string announces nothing.
fn words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
        if c == escape && quote != Some('\'') {
            word.extend(chars.next());
        }
    }
    if !word.is_empty() && quote.is_none() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, bool, bool)]) {
        let got = find_all(text, '\\');
        let got: Vec<_> = got.iter().map(|doc| (doc.name.as_str(), doc.expand, doc.strip_tabs)).collect();
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn announcements() {
        check("RUN <<EOF", &[("EOF", true, false)]);
        check("RUN <<-EOF cat", &[("EOF", true, true)]);
        check("RUN cat <<'EOF' > x", &[("EOF", false, false)]);
        check("RUN <<\"EOF\" x", &[("EOF", false, false)]);
        check("RUN 3<<A b 4<<B", &[("A", true, false), ("B", true, false)]);
        check("RUN cat <<< word", &[]);
        check("RUN echo \"<<EOF\"", &[]);
        check("RUN echo $((1 << 3))", &[]);
        check("RUN a << b", &[]);
        check("COPY <<a.txt <<b.txt /d/", &[("a.txt", true, false), ("b.txt", true, false)]);
        check("RUN x<<EOF", &[]);
        check("RUN 'a <<EOF", &[]);
    }

    #[test]
    fn an_announcement_is_one_word() {
        assert!(announce("<<EOF").is_some());
        assert!(announce("<<\"E F\"").is_some());
        assert!(announce("<<EOF cat > /x").is_none());
        assert!(announce("<<").is_none());
    }

    #[test]
    fn tabs_are_stripped_from_the_body_only_when_asked() {
        let mut doc = announce("<<-E").unwrap();
        doc.content = "\t\ta\n\tb \t\n".into();
        assert_eq!(doc.body(), "a\nb \t\n");
        doc.strip_tabs = false;
        assert_eq!(doc.body(), "\t\ta\n\tb \t\n");
    }
}
