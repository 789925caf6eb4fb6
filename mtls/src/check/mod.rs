//! `mtls check`.

mod arguments;
mod declared;
mod input;
mod layouts;
mod manifest;
mod moment;
mod projected;
mod yaml;

use std::io::Write;
use std::sync::Arc;

pub(crate) use arguments::Arguments;

use mtls_core::check::{CheckOptions, CheckSide, Report, check, check_against, check_policy};
use mtls_core::{Authorizer, PolicyDocument, Timestamp};

use crate::Failure;
use crate::report::{self, Named};
pub(crate) use input::read;
use input::{Input, Subject};

/// Whether nothing was found that counts.
pub(crate) fn run(
    arguments: &Arguments,
    colours: bool,
    out: &mut impl Write,
) -> Result<bool, Failure> {
    let options = arguments.options(Timestamp::now())?;
    let inputs = input::all(arguments)?;
    let mut reports: Vec<Named> = Vec::new();
    for input in &inputs {
        reports.push(one(input, arguments, &options)?);
    }
    for path in arguments.policies() {
        let report = check_policy(path, &input::read(path)?, &options);
        reports.push(Named::new(path.display().to_string(), report));
    }
    if let Some(other) = &arguments.against {
        let [
            Input {
                name,
                subject: Subject::Set(set),
            },
        ] = inputs.as_slice()
        else {
            let what =
                "`--against` takes one set to compare with, and it has to be one that can be read";
            return Err(Failure::new(what));
        };
        let against = input::directory(other, arguments);
        reports.push(one(&against, arguments, &options)?);
        if let Subject::Set(other_set) = &against.subject {
            let mut ours = CheckSide::new(set);
            ours.authorizer = authorizer(arguments.policy.as_deref())?;
            let mut theirs = CheckSide::new(other_set);
            theirs.authorizer = authorizer(arguments.against_policy.as_deref())?;
            let report = check_against(&ours, &theirs, &options).map_err(could_not)?;
            let both = format!("{name} and {}", against.name);
            reports.push(Named::new(both, report));
        }
    }
    report::write(
        &reports,
        arguments.format,
        colours,
        arguments.fail_on(),
        out,
    )?;
    let counts = |report: &Report| {
        report
            .worst()
            .is_some_and(|worst| worst >= arguments.fail_on())
    };
    Ok(!reports.iter().any(|named| counts(&named.report)))
}

fn one(input: &Input, arguments: &Arguments, options: &CheckOptions) -> Result<Named, Failure> {
    let report = match &input.subject {
        Subject::Declared(declared) => {
            let found = declared.findings(arguments.role);
            mtls_core::check::check_found(found, options)
        }
        Subject::Set(set) => check(set, options).map_err(could_not)?,
        Subject::Unreadable(error, path) => mtls_core::check::check_error(error, path, options),
    };
    Ok(Named::new(input.name.clone(), report))
}

/// Whom a policy file lets in. One that does not hold has been told of; one about requests says nothing of handshakes.
fn authorizer(path: Option<&std::path::Path>) -> Result<Option<Arc<dyn Authorizer>>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let bytes = input::read(path)?;
    let is_json = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let document = match is_json {
        true => PolicyDocument::from_json(&bytes),
        false => PolicyDocument::from_toml(&bytes),
    };
    let policy = document.and_then(|document| document.access_policy());
    Ok(policy
        .ok()
        .map(|policy| Arc::new(policy) as Arc<dyn Authorizer>))
}

fn could_not(error: mtls_core::LoadError) -> Failure {
    Failure::new(format!("{error}; {}", error.remedy()))
}
