//! `image check`.

use std::process::ExitCode;

use image::{Checked, Outcome as Mended};

use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, note, print_line};

/// Check that images are complete and undamaged: all of them, with everything else that is kept, when none is named
#[derive(clap::Parser)]
struct Args {
    /// Only print damage, and nothing when there is none
    #[arg(short, long)]
    quiet: bool,
    /// Mend what is damaged: layers from their blobs, blobs from the registry they came from
    #[arg(long)]
    repair: bool,
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let checked = match args.repair {
        true => repair(context, &args.images)?,
        false => {
            let checked = context.engine()?.image_check(&args.images)?;
            checked.damage.iter().for_each(print_line);
            checked
        }
    };
    if !args.quiet {
        print_line(summary(&checked));
    }
    if checked.damage.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.repair && !args.quiet {
        note("hint: mend what can be mended with `hull image check --repair`");
    }
    Ok(ExitCode::FAILURE)
}

fn repair(context: &Context, images: &[String]) -> Result<Checked, crate::commands::Ended> {
    let (checked, outcomes) = context.engine()?.image_repair(context.registry()?, images)?;
    for (damage, outcome) in outcomes {
        match outcome {
            Mended::Repaired(how) => print_line(format_args!("{damage}: repaired ({how})")),
            Mended::Left { why, hint } => {
                print_line(format_args!("{damage}: not repaired: {why}; {hint}"));
            }
        }
    }
    Ok(checked)
}

fn summary(checked: &Checked) -> String {
    let count = |number: usize, one: &str, many: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    };
    let damage = match checked.damage.len() {
        0 => "no damage".to_owned(),
        1 => "1 damaged".to_owned(),
        number => format!("{number} damaged"),
    };
    format!(
        "Checked {}, {}, {}: {damage}",
        count(checked.images, "image", "images"),
        count(checked.snapshots, "layer", "layers"),
        count(checked.blobs, "blob", "blobs"),
    )
}
