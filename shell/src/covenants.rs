//! Reading a covenant from files: canonical bytes, or TOML parts with the schemas beside them.

use std::path::{Component, Path, PathBuf};

use seinhuis_shared::covenant::{Covenant, Part};
use seinhuis_shared::limits::COVENANT_MAX;

use crate::complaint::Complaint;
use crate::files;
use crate::lang::Text;

/// Most bytes of one TOML part.
const PART_MAX: usize = 2 * COVENANT_MAX;
/// Most bytes of one schema file.
const SCHEMA_MAX: usize = 256 * 1024;

/// Reads a covenant. One file that is not TOML is taken as canonical bytes; otherwise the files are the
/// parts of one document, such as the model and the partnership's own parties, and schemas are looked for
/// in the folder of the first.
///
/// # Errors
/// A sentence naming file, line and fault.
pub fn load(paths: &[PathBuf]) -> Result<Covenant, Complaint> {
    if let [only] = paths
        && only.extension().is_none_or(|extension| extension != "toml")
    {
        let bytes = files::read(only, COVENANT_MAX)?;
        return Covenant::from_bytes(&bytes).map_err(|error| wrong(&error.to_string()));
    }
    let first = paths.first().ok_or_else(|| wrong("no file"))?;
    let folder = files::parent(first);
    let texts = paths
        .iter()
        .map(|path| Ok((path.display().to_string(), files::read_text(path, PART_MAX)?)))
        .collect::<Result<Vec<_>, Complaint>>()?;
    let parts: Vec<Part<'_>> = texts.iter().map(|(name, text)| Part { name, text }).collect();
    Covenant::from_toml_parts(&parts, &mut |name| schema(&folder, name))
        .map_err(|error| wrong(&error.to_string()))
}

/// What a covenant that is not in order means for whoever gave it.
pub fn wrong(error: &str) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("Het convenant is niet in orde: {error}"),
            format!("The covenant is not in order: {error}"),
        ),
        Text::new(
            "Verbeter de genoemde plaats en probeer opnieuw.",
            "Correct the place named and try again.",
        ),
    )
}

/// A schema by its relative name; never outside the covenant's folder.
fn schema(folder: &Path, name: &str) -> Result<String, String> {
    let relative = Path::new(name);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(format!("{name} is not a path below the covenant's folder"));
    }
    files::read_text(&folder.join(relative), SCHEMA_MAX).map_err(|complaint| complaint.what.en)
}
