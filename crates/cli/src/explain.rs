//! What only the edge can add to a failure.

use diag::Failure;

/// As [`diag::render`]; when nobody had a hint, a system call the kernel does not have is named, and so is a user without rights.
///
/// The text is searched, because steps inside a container report their errno as text.
pub fn render(failure: &Failure) -> String {
    let mut text = diag::render(failure);
    let has_hint = failure.hint().is_some();
    if text.contains("(os error 38)") {
        let missing = sys::features::missing_system_calls().join(", ");
        if !missing.is_empty() {
            text.push_str(&format!(
                "\n  hint: this kernel, or a sandbox around hull, does not offer {missing}; hull needs Linux 5.12 or newer"
            ));
        }
    } else if !has_hint
        && (text.contains("(os error 1)") || text.contains("(os error 13)"))
        && sys::fs::effective_uid() != 0
    {
        text.push_str("\n  hint: run as root");
    }
    text
}
