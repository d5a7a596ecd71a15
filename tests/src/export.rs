//! Exports as somebody with bad intentions changes them.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Writes a copy in which the text of one member was changed, and nothing else.
///
/// # Errors
/// When a file cannot be read or written.
pub fn tampered(
    bundle: &Path,
    out: &Path,
    member: &str,
    mut edit: impl FnMut(String) -> String,
) -> io::Result<()> {
    let mut from = ZipArchive::new(File::open(bundle)?)?;
    let mut to = ZipWriter::new(File::create(out)?);
    for index in 0..from.len() {
        let mut one = from.by_index(index)?;
        let own = one.name()?.into_owned();
        let mut bytes = Vec::new();
        one.read_to_end(&mut bytes)?;
        if own == member {
            let text = String::from_utf8(bytes).map_err(io::Error::other)?;
            bytes = edit(text).into_bytes();
        }
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        to.start_file(own, options)?;
        to.write_all(&bytes)?;
    }
    to.finish()?;
    Ok(())
}
