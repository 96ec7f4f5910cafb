//! Separate debug files, by build id and by `.gnu_debuglink`.

use std::{fmt::Write as _, fs::File, io, path::Path};

use super::{
    elf::Elf,
    image::Image,
    open::{Root, open_regular},
};

/// Where distributions install debug files.
const DIRECTORY: &str = "/usr/lib/debug";

/// Finds the debug file of a module: first in the target's root, then in the agent's.
///
/// `path` is the module's path in the target's mount namespace; `limit` the largest file, in bytes, that is read
/// through to compare its checksum.
pub fn find(root: &Root, path: &str, module: (&Image, &Elf), limit: u64) -> Option<(Image, Elf)> {
    let (image, elf) = module;
    if let Some(id) = elf.build_id.as_deref() {
        let path = by_build_id(id)?;
        let opened = [root.open(&path), open_regular(&path)];
        let found = opened
            .into_iter()
            .find_map(|file| accept(file, |debug, _| debug.build_id == elf.build_id));
        if found.is_some() {
            return found;
        }
    }
    let (name, checksum) = elf.debug_link(image)?;
    let parent = Path::new(path).parent()?.to_str()?;
    let central = format!("{DIRECTORY}{parent}/{name}");
    let opened = [
        // A link may carry the name of its own file: then the build id or checksum tells them apart.
        root.open(&format!("{parent}/{name}")),
        root.open(&format!("{parent}/.debug/{name}")),
        root.open(&central),
        open_regular(&central),
    ];
    opened.into_iter().find_map(|file| {
        accept(file, |debug, bytes| {
            let has_more =
                debug.section(".debug_info").is_some() || debug.section(".symtab").is_some();
            let same_id = debug.build_id.is_some() && debug.build_id == elf.build_id;
            has_more && (same_id || crc(bytes, limit) == Some(checksum))
        })
    })
}

fn accept(file: io::Result<File>, check: impl Fn(&Elf, &Image) -> bool) -> Option<(Image, Elf)> {
    let image = Image::File(file.ok()?);
    let elf = Elf::parse(&image).ok()?;
    check(&elf, &image).then_some((image, elf))
}

fn by_build_id(id: &[u8]) -> Option<String> {
    let (first, rest) = id.split_first()?;
    let mut path = format!("{DIRECTORY}/.build-id/{first:02x}/");
    for byte in rest {
        write!(path, "{byte:02x}").ok()?;
    }
    path.push_str(".debug");
    Some(path)
}

fn crc(image: &Image, limit: u64) -> Option<u32> {
    let length = image.len();
    if length > limit {
        return None;
    }
    let mut crc = flate2::Crc::new();
    let mut buffer = vec![0; 1 << 16];
    let mut offset = 0;
    while offset < length {
        let step = usize::try_from(length - offset)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let chunk = buffer.get_mut(..step)?;
        image.fill(offset, chunk).then_some(())?;
        crc.update(chunk);
        offset += step as u64;
    }
    Some(crc.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_id_path() {
        assert_eq!(
            by_build_id(&[0xab, 0x01, 0xff]).unwrap(),
            "/usr/lib/debug/.build-id/ab/01ff.debug"
        );
        assert_eq!(by_build_id(&[]), None);
    }

    #[test]
    fn checksum_is_crc32() {
        let image = Image::Bytes(b"123456789".as_slice().into());
        assert_eq!(crc(&image, 9), Some(0xcbf4_3926));
        assert_eq!(crc(&image, 8), None);
    }
}
