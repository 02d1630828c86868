//! `image verify`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use oci::image::Platform;
use trust::{Fulcio, Identity, PublicKey, Requirement, Signers, SigstoreSigned, Subject, Verified};

use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print_line};
use crate::flags::value::{FlagsError, optional, reference, value};
use crate::output::human;

/// Verify the signatures of an image at its registry
///
/// Without a key or a certificate's identity, what the policy asks for is verified.
#[derive(clap::Parser)]
struct Args {
    /// Certificates of the authorities that are believed, in PEM
    #[arg(long, value_name = "file", requires = "certificate_identity")]
    ca_roots: Option<PathBuf>,
    /// Who has to have signed: an address of mail, a URI or a DNS name in the certificate
    #[arg(long, value_name = "string", requires_all = ["certificate_oidc_issuer", "ca_roots", "rekor_key"])]
    certificate_identity: Option<String>,
    /// The identity provider that has to have vouched for the signer
    #[arg(long, value_name = "url", requires = "certificate_identity")]
    certificate_oidc_issuer: Option<String>,
    /// The public key the image has to be signed with, in PEM
    #[arg(long, value_name = "file", conflicts_with = "certificate_identity")]
    key: Option<PathBuf>,
    /// Select the image of one platform of a multi-platform image (os/arch[/variant])
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// The public key of the transparency log that has to have seen the signature, in PEM
    #[arg(long, value_name = "file")]
    rekor_key: Option<PathBuf>,
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    name: String,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let name = reference(&args.name)?.pullable();
    let platform = optional("--platform", &args.platform, Platform::parse)?.unwrap_or_else(Platform::host);
    let requirement = requirement(&args)?;
    let images = context.engine()?.images();
    let verified = images.verify(context.registry()?, &name, &platform, requirement)?;
    print_line(format_args!("Verified {name}"));
    verified.iter().for_each(show);
    Ok(ExitCode::SUCCESS)
}

/// What the flags ask for; `None` is the policy.
fn requirement(args: &Args) -> Result<Option<Requirement>, FlagsError> {
    let key = |flag, path: &Option<PathBuf>| {
        path.as_ref()
            .map(|path| value(flag, &path.to_string_lossy(), |text| PublicKey::read(Path::new(text))))
            .transpose()
    };
    let logs: Vec<_> = key("--rekor-key", &args.rekor_key)?.into_iter().collect();
    let signers = match (key("--key", &args.key)?, fulcio(args)?) {
        (Some(key), _) => Signers::Keys(vec![key]),
        (None, Some(fulcio)) => Signers::Fulcio(fulcio),
        (None, None) if logs.is_empty() => return Ok(None),
        (None, None) => {
            let flag = "--rekor-key alone".to_owned();
            return Err(FlagsError::Unsupported {
                flag,
                instead: "say who has to have signed, with `--key` for example",
            });
        }
    };
    let wanted = SigstoreSigned { signers, logs, identity: Identity::RepositoryIfNamed };
    Ok(Some(Requirement::Sigstore(Box::new(wanted))))
}

fn fulcio(args: &Args) -> Result<Option<Fulcio>, FlagsError> {
    let (Some(identity), Some(issuer), Some(path)) =
        (&args.certificate_identity, &args.certificate_oidc_issuer, &args.ca_roots)
    else {
        return Ok(None);
    };
    let roots = std::fs::read(path).map_err(|source| FlagsError::Read { path: path.clone(), source })?;
    value("--ca-roots", &path.to_string_lossy(), |name| {
        Fulcio::new(name, &roots, issuer.clone(), Subject::Any(identity.clone()))
    })
    .map(Some)
}

fn show(verified: &Verified) {
    let Verified { digest, signature, form, signer, name, logged } = verified;
    print_line(format_args!("Digest: {digest}"));
    print_line(format_args!("Signature: {signature} ({form})"));
    print_line(format_args!("Signed by: {signer}"));
    print_line(format_args!("Signed for: {}", name.as_deref().unwrap_or("any name")));
    if let Some(seconds) = logged {
        print_line(format_args!("Logged: {}", human::date(seconds.saturating_mul(1_000_000_000))));
    }
}
