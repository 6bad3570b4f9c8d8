"""The entries of a zip file that somebody else made."""

from __future__ import annotations

import zipfile


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The content of an entry, of no more bytes than the directory of the archive says.

    `ZipFile.read` unpacks whatever is there before it looks at that size, so that a directory which says too little
    hides what a small file unpacks to. Of the ways to pack, only the common one can be unpacked in part.

    Raises
    ------
    zipfile.BadZipFile
        If the content does not have the checksum that the directory says, or is packed in an uncommon way; and all
        else that `zipfile` raises.
    """
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{entry.filename[:80]!r} is packed by method {entry.compress_type}, not by deflate")
    with archive.open(entry) as stream:
        return stream.read(entry.file_size + 1)
